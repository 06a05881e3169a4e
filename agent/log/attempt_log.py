"""An attempt's log as its guard hears it: two streams of a program and Muster's own words, with their place in it.

A line that has not ended is shown all the same, now and then: the state of a bar, a question. The next line of its
stream supersedes it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.log.last_lines import LastLines
from agent.log.lines import Lines
from app.pool.log.portion import Stream

STATE_S = 2.0  # between two states of an unfinished line that are shown


@dataclass(frozen=True)
class Passage:
    """Whole lines of one stream that were heard at one moment, and their place in the log."""

    at_ms: int
    stream: str  # a Stream; a capital letter for a line that had not ended
    text: bytes
    lines: int
    first_line: int  # from 1
    first_byte: int


class AttemptLog:
    """Passes on what is said as passages, in the order in which it was heard. Nothing here waits."""

    def __init__(self, take: Callable[[Passage], None], look_at: Callable[[bytes], None] = lambda text: None) -> None:
        """`look_at` is called with all whole lines of the program, and none of Muster's own."""
        self._take, self._look_at = take, look_at
        self._outputs: dict[Stream, _Output] = {"o": _Output(), "e": _Output()}
        self._lines = 0
        self.recent = LastLines()
        self.bytes = 0  # of text, in all that was passed on

    def hear(self, stream: Stream, chunk: bytes) -> None:
        """Take what one of the program's streams has said."""
        self._say(stream, self._outputs[stream].feed(chunk, time.monotonic()))

    def remark(self, words: str) -> None:
        """Add words of Muster's own, one line or several."""
        lines = Lines()
        said = "\n".join(words.splitlines()).encode("utf-8", "replace")
        self._say("m", lines.feed(said) + lines.finish())

    def show_unfinished(self) -> None:
        """Show lines that have waited for their end for a while, in their newest state; to be called often."""
        now = time.monotonic()
        for stream, output in self._outputs.items():
            if state := output.to_show(now):
                self._pass_on(stream.upper(), state + b"\n")

    def finish(self) -> None:
        """Pass on last words that have no line end, since nothing more comes."""
        for stream, output in self._outputs.items():
            self._say(stream, output.finish())

    def _say(self, stream: Stream, text: bytes) -> None:
        if text:
            self.recent.add(text, self._pass_on(stream, text))
        if text and stream != "m":
            self._look_at(text)

    def _pass_on(self, stream: str, text: bytes) -> int:
        lines = text.count(b"\n")
        self._take(Passage(time.time_ns() // 1_000_000, stream, text, lines, self._lines + 1, self.bytes))
        self._lines += lines
        self.bytes += len(text)
        return lines


class _Output:
    """One stream, and what of its unfinished line was shown."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._since = math.inf  # when the unfinished line began, or was last looked at
        self._shown = b""
        self.finish = self._lines.finish

    def feed(self, chunk: bytes, now: float) -> bytes:
        """The lines that are whole with this chunk."""
        whole = self._lines.feed(chunk)
        if whole:
            self._since, self._shown = math.inf, b""
        if self._lines.unfinished:
            self._since = min(self._since, now)
        return whole

    def to_show(self, now: float) -> bytes:
        """The state that is to be shown now; b"" when none is."""
        if now < self._since + STATE_S:
            return b""
        state, self._since = self._lines.unfinished, now
        if state == self._shown:
            return b""
        self._shown = state
        return state
