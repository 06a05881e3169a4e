"""The last lines of a log, whatever of it is kept elsewhere: what rules, GPU memory and an error look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from app.pool.text import storable_text

LINES, CHARACTERS = 1000, 1000  # that are looked through: lines, and characters of each


class LastLines:
    """The newest blocks of whole lines; they are taken apart only when somebody asks, at an attempt's end."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[bytes, int]] = deque()
        self._lines = 0

    def add(self, block: bytes, lines: int) -> None:
        """Add whole lines, as many as `lines` says; the oldest block goes when the others are enough."""
        self._blocks.append((block, lines))
        self._lines += lines
        while self._lines - self._blocks[0][1] >= LINES:
            self._lines -= self._blocks.popleft()[1]

    def lines(self) -> list[str]:
        """The last LINES lines, of each its beginning."""
        whole = b"".join(block for block, _ in self._blocks).split(b"\n")[:-1]
        return list(shortened(line.decode(errors="replace") for line in whole[-LINES:]))


def shortened(lines: Iterable[str]) -> Iterator[str]:
    """The beginnings of these lines."""
    return (storable_text(line[:CHARACTERS]) for line in lines)
