"""Whole lines, out of what one stream of a program writes.

What was read at once passes as it is: nothing looks at its single lines unless something redraws itself or a line is
too long. Of a line that redraws itself the newest state counts, as a terminal would show it.
"""

from __future__ import annotations

import re

from app.pool.model import LIMITS

CUT = " … (cut)".encode()
_MOST = LIMITS.log_line_bytes
_BROKEN = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,2}\Z")  # the beginning of a character whose rest was cut away


class Lines:
    """The lines of one stream; an unfinished one waits here."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """The lines that are whole with this chunk, each with its end; b"" when none is."""
        data = self._rest + chunk
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        whole, end, rest = data.rpartition(b"\n")
        self._rest = _waiting(rest)
        if b"\r" in whole or _has_long_line(whole):
            whole = b"\n".join(map(_line, whole.split(b"\n")))
        return whole + end

    @property
    def unfinished(self) -> bytes:
        """The newest state of the unfinished line, without an end; b"" when there is none."""
        return _line(self._rest) if self._rest else b""

    def finish(self) -> bytes:
        """The unfinished line as a whole one, since nothing more comes; b"" when there is none."""
        last = self.unfinished
        self._rest = b""
        return last + b"\n" if last else b""


def _line(text: bytes) -> bytes:
    text = _newest(text)
    if len(text) <= _MOST:
        return text
    return _BROKEN.sub(b"", text[: _MOST - len(CUT)]) + CUT


def _newest(text: bytes) -> bytes:
    """What the last redraw has left to see; one that only blanks the line does not count."""
    if b"\r" not in text:
        return text
    return next((state for state in reversed(text.split(b"\r")) if state.strip()), b"")


def _waiting(rest: bytes) -> bytes:
    """As much of an unfinished line as still matters. A redraw that has only begun leaves its '\\r' there."""
    if len(rest) <= _MOST and b"\r" not in rest:
        return rest
    return _newest(rest)[: _MOST + 1] + (b"\r" if rest.endswith(b"\r") else b"")


def _has_long_line(whole: bytes) -> bool:
    """True when a line is too long to be kept. It takes a step for every 2 KiB or so, not for every line."""
    at = 0
    while len(whole) - at > _MOST:
        end = whole.rfind(b"\n", at, at + _MOST + 1)
        if end < 0:
            return True
        at = end + 1
    return False
