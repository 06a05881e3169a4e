"""Lines that make a success a failure (`fail_when`), looked for in the whole log as it streams by.

Most patterns hold some plain text, and a block of the log that has it nowhere is passed over at the speed of memory.
All patterns together have a share of the time; one that backtracks for ever, or that takes most of what is too much,
is given up, and the log says so. Nothing here waits.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from agent.attempt.literal import required
from agent.attempt.time_limit import within
from agent.log.last_lines import CHARACTERS
from app.pool.model import LIMITS
from app.pool.protocol import Cause, Report

ONE_BLOCK_S = 0.2  # of processor time, for one pattern: ordinary ones need a hundredth of it
AT_ONCE_S, SHARE = 5.0, 0.2  # for all patterns: so much, and this share of the time since the attempt began


class LogWatch:
    """The patterns of one workflow; call `feed` in the main thread only."""

    def __init__(
        self, patterns: Sequence[str], remark: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._remark = remark
        self._now, self._began = now, now()
        self._needles = [_Needle(pattern) for pattern in patterns]
        self.found: str | None = None  # the first line that fits

    def feed(self, block: bytes) -> None:
        """Look through a block of whole lines."""
        for needle in tuple(self._needles) if self.found is None else ():
            try:
                with within(ONE_BLOCK_S, signal.ITIMER_VIRTUAL):
                    self.found = self.found or needle.search(block)
            except TimeoutError:
                self._give_up(needle)
        if sum(needle.spent_s for needle in self._needles) > AT_ONCE_S + SHARE * (self._now() - self._began):
            self._give_up(max(self._needles, key=lambda needle: needle.spent_s))

    def judged(self, end: Report) -> Report:
        """The end; a success becomes the workflow's own failure where a line was found."""
        if end.end != "succeeded" or self.found is None:
            return end
        error = f"a line of its log makes it a failure, as fail_when says:\n{self.found}"
        return replace(end, end="failed", cause=Cause.WORKFLOW, error=error, result=None, files=())

    def _give_up(self, needle: _Needle) -> None:
        self._needles.remove(needle)
        self._remark(f"the pattern {needle.pattern!r} of this workflow's fail_when was given up: it takes too long")


@dataclass
class _Needle:
    """One pattern, and the processor time that it has taken."""

    pattern: str
    spent_s: float = 0.0
    _search: Callable[[str], object] = field(init=False)

    def __post_init__(self) -> None:
        self._search = re.compile(self.pattern).search
        literal = required(self.pattern)
        self._literal = literal.text.encode() if literal else None
        self._folded = literal is not None and literal.folded

    def search(self, block: bytes) -> str | None:
        """The first line that fits, as much of it as an error shows."""
        began = time.thread_time()
        try:
            lines = block.split(b"\n") if self._literal is None else self._with_literal(block, self._literal)
            texts = (line[: 4 * CHARACTERS].decode(errors="replace")[:CHARACTERS] for line in lines)
            return next((text.strip()[: LIMITS.text_characters] for text in texts if self._search(text)), None)
        finally:
            self.spent_s += time.thread_time() - began

    def _with_literal(self, block: bytes, literal: bytes) -> Iterator[bytes]:
        look_in = block.lower() if self._folded else block
        at = look_in.find(literal)
        while at >= 0:
            end = block.find(b"\n", at)
            end = end if end >= 0 else len(block)
            yield block[block.rfind(b"\n", 0, at) + 1 : end]
            at = look_in.find(literal, max(end, at + 1))  # a literal may begin with a line end
