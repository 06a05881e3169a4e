"""The words of a command, `::progress …` and `::checkpoint …`, found in what one of its streams says.

A word begins a line, or a write; on a line that redraws itself it may stand anywhere behind the last redraw. It ends
where its line ends and is taken out, so that the text of a bar before it stays that bar's state. All else passes as
it is, and at once, unless it may be the beginning of a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from app.pool.model import LIMITS

WORDS = (b"::progress ", b"::checkpoint ")
_WORD = re.compile(rb"(::(?:progress|checkpoint) [^\r\n]*)(\r?\n|\r(?!\Z))")
_LONGEST = LIMITS.checkpoint_bytes + (1 << 16)  # bytes of a word whose end is waited for; a checkpoint fits


class Words:
    """One stream's; `understand` is called with each word."""

    def __init__(self, understand: Callable[[bytes], None]) -> None:
        self._understand = understand
        self._held = b""  # may become a word
        self._begins = True  # what comes next stands at the beginning of a line
        self._redraws = False  # the line on which it stands redraws itself
        self._owes_end = False  # the end of a word's line was taken out, behind the text of a bar

    def feed(self, chunk: bytes) -> bytes:
        """What is to be passed on of the chunk."""
        if not (self._held or self._owes_end or b"::" in chunk or chunk.endswith(b":")):
            self._passed(chunk)
            return chunk
        write_at, data = len(self._held), self._held + chunk
        passed: list[bytes] = []
        done = 0
        for word in _WORD.finditer(data):
            if self._counts(data, done, word.start(), write_at):
                passed.append(self._pass(data[done : word.start()]))
                passed.append(self._take(word[1], word[2]))
                done = word.end()
        held_at = self._unfinished_at(data, done, write_at)
        self._held = data[held_at:]
        passed.append(self._pass(data[done:held_at]))
        return b"".join(passed)

    def finish(self) -> bytes:
        """What is left when nothing more comes; a last word needs no line end."""
        held, self._held = self._held, b""
        if held.startswith(WORDS):
            self._understand(held.rstrip(b"\r"))
            return b""
        return self._pass(held)

    def _counts(self, data: bytes, done: int, at: int, write_at: int) -> bool:
        """True for a place where a word may begin."""
        line = max(done, data.rfind(b"\n", done, at) + 1)
        before = data[line:at]
        if not before and (line > done or self._begins):
            return True
        return at == write_at or b"\r" in before or (line == done and self._redraws)

    def _unfinished_at(self, data: bytes, done: int, write_at: int) -> int:
        """Where a word begins whose end is yet to come; the end of the data when none does."""
        at = max(done, len(data) - _LONGEST, data.rfind(b"\n", done) + 1)
        at = max(at, data.rfind(b"\r", at, len(data) - 1) + 1)
        while (at := data.find(b":", at)) >= 0:
            if _may_be_word(data, at) and self._counts(data, done, at, write_at):
                return at
            at += 1
        return len(data)

    def _pass(self, text: bytes) -> bytes:
        """The text, behind the line end that was taken out with a word, unless its bar goes on."""
        if text and self._owes_end:
            self._owes_end = False
            if not text.startswith(b"\r"):
                text = b"\n" + text
        self._passed(text)
        return text

    def _passed(self, text: bytes) -> None:
        if not text:
            return
        unfinished = text.rpartition(b"\n")[2]
        ended = len(unfinished) < len(text)
        self._redraws = b"\r" in unfinished or (self._redraws and not ended)
        self._begins = not unfinished

    def _take(self, word: bytes, end: bytes) -> bytes:
        """Take a word out, with its end, unless that redraws the line."""
        self._understand(word)
        if end == b"\r":
            return self._pass(end)
        self._owes_end = self._owes_end or not self._begins
        self._begins, self._redraws = True, False
        return b""


def _may_be_word(data: bytes, at: int) -> bool:
    if data.startswith(WORDS, at):
        return True
    return len(data) - at < len(max(WORDS, key=len)) and any(word.startswith(data[at:]) for word in WORDS)
