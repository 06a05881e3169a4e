"""A draft: the passages of a log that are to become the next portion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agent.log.attempt_log import Passage
from app.pool.log.portion import MOST_BYTES, PortionHead, pack, stamped


class Draft:
    """Portions of one attempt, one after the other: `add` until it is full, then `close`."""

    def __init__(self) -> None:
        self._number = 0
        self._stamped: list[bytes] = []
        self._size = 0
        self._head = PortionHead(1, 1, 0, 0, 0)

    @property
    def empty(self) -> bool:
        """True when nothing was added since the last portion."""
        return not self._stamped

    @property
    def begun(self) -> bool:
        """True when there is, or was, anything at all."""
        return self._number > 0 or not self.empty

    def fits(self, passage: Passage) -> bool:
        """True when this piece goes on where the draft ends, and there is room for it."""
        head = self._head
        follows = passage.first_line == head.first_line + head.lines
        return self.empty or (follows and self._size + _stamped_bytes(passage) <= MOST_BYTES)

    def add(self, piece: Passage) -> None:
        """Add a piece that fits."""
        if self.empty:
            self._head = PortionHead(self._number + 1, piece.first_line, 0, piece.first_byte, 0)
        self._stamped.append(stamped(piece.at_ms, piece.stream, piece.text))
        self._size += len(self._stamped[-1])
        head = self._head
        self._head = replace(head, lines=head.lines + piece.lines, bytes=head.bytes + len(piece.text))

    def close(self, last: bool) -> tuple[PortionHead, bytes]:
        """The portion of what was added, compressed; an empty one may close a log. The next one begins behind it."""
        head = replace(self._head, number=self._number + 1, closed=last)
        packed = pack(b"".join(self._stamped))
        self._number += 1
        self._stamped, self._size = [], 0
        self._head = PortionHead(self._number + 1, head.first_line + head.lines, 0, head.first_byte + head.bytes, 0)
        return head, packed


def pieces(passage: Passage) -> Iterator[Passage]:
    """The passage, in pieces that a portion has room for."""
    if _stamped_bytes(passage) <= MOST_BYTES:
        yield passage
        return
    half = passage.text.rfind(b"\n", 0, len(passage.text) // 2) + 1 or passage.text.index(b"\n") + 1
    text, rest = passage.text[:half], passage.text[half:]
    first = replace(passage, text=text, lines=text.count(b"\n"))
    yield from pieces(first)
    yield from pieces(
        replace(
            passage,
            text=rest,
            lines=passage.lines - first.lines,
            first_line=passage.first_line + first.lines,
            first_byte=passage.first_byte + half,
        )
    )


def _stamped_bytes(passage: Passage) -> int:
    mark = len(stamped(passage.at_ms, passage.stream, b"\n")) - 1
    return len(passage.text) + passage.lines * mark
