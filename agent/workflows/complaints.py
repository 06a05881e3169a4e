"""What ffmpeg complains of in one run: the first and the last lines for the log, and whether its input is to blame.

ffmpeg ends with 0 also where it lost half of a film, so its words count and not its exit code.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping

LEVEL = "repeat+level+info"  # each line names its level, and none stands for several
KEPT = 10  # lines from the beginning, and as many from the end
COUNTED = 1_000  # different lines

_LINE = re.compile(r"((?:\[[^\]]* @ 0x[0-9a-f]+\] ?)*)\[(\w+)\] (.*)")
_SPEAKER = re.compile(r"\[([^\]]*?) @ 0x[0-9a-f]+\]")
_ERRORS = {"panic", "fatal", "error"}
_LEVELS = {*_ERRORS, "warning", "info", "verbose", "debug", "trace"}
_CORRUPT = re.compile(r"corrupt", re.IGNORECASE)  # the one warning that tells of lost content
_OPENED = "Input #0, "
_DEMUXED = "corrupt input packet"  # said by ffmpeg itself of what a demuxer gave it
_GAP = re.compile(rf"Packet corrupt|{_DEMUXED}")
_DAMAGED = re.compile(
    r"corrupt|ended prematurely|partial file|atom not found|Invalid data found|Invalid NAL unit size|EBML number"
    r"|damaged|error while decoding|decoding error|CRC mismatch|checksum|Error at MB|Truncating packet"
    r"|slice_header error|Error splitting|exceeds containing|Input buffer exhausted",
    re.IGNORECASE,
)
_UNREADABLE = re.compile(
    r"Input/output error|Stale file handle|Transport endpoint is not connected|Connection timed out|Remote I/O error"
    r"|Permission denied|No such file or directory"
)


class Complaints:
    """The complaints of one run over a file of this kind, by which its demuxer is told from decoders.

    A demuxer's words count always. A decoder's count only once the file is open: to open it ffmpeg tries decoders on
    parts of frames, and says the rest again. `known` are lines of decoders that say nothing of damage, as often as
    they stand there.

    counted     how often each line of a decoder came, since the file was open
    damage      the first line by which the input is damaged, None without one
    doubt       the first by which it may be: where recordings were spliced, packets of MPEG-TS look as if some lacked
    unreadable  the first line by which the input could not be read: its disk or network is at fault
    """

    def __init__(self, kind: str = "", known: Mapping[str, int] | None = None) -> None:
        self._kind = kind
        self._known = Counter(known or {})
        self._opened = not kind
        self._level = "error"  # of the line before; another program that stands there names none at all
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=KEPT)
        self.count = 0
        self.counted: Counter[str] = Counter()
        self.damage: str | None = None
        self.doubt: str | None = None
        self.unreadable: str | None = None

    def add(self, said: str) -> None:
        """Take a line of its standard error. What is neither an error nor tells of lost content is dropped."""
        who, level, text = _parts(said)
        level = self._level = level or self._level
        self._opened = self._opened or text.startswith(_OPENED)
        if level not in _ERRORS and not (level == "warning" and _CORRUPT.search(text)):
            return
        line = f"{who}: {text}" if who else text
        self.count += 1
        (self._first if len(self._first) < KEPT else self._last).append(line)
        if _UNREADABLE.search(text):
            self.unreadable = self.unreadable or line
        elif self._kind == "mpegts" and _GAP.search(text):
            self.doubt = self.doubt or line
        elif self._counts(who, text, line) and _DAMAGED.search(text):
            self.damage = self.damage or line

    @property
    def lines(self) -> list[str]:
        """All lines, or with a gap that is named between the first and the last; the first names the cause."""
        left_out = self.count - len(self._first) - len(self._last)
        gap = [f"… {left_out} lines more …"] if left_out else []
        return [*self._first, *gap, *self._last]

    def _counts(self, who: str, text: str, line: str) -> bool:
        if who == self._kind or who.startswith("in#") or _DEMUXED in text:
            return True
        if not self._opened:
            return False
        if line in self.counted or len(self.counted) < COUNTED:
            self.counted[line] += 1
        self._known[line] -= 1
        return self._known[line] < 0


def _parts(line: str) -> tuple[str, str, str]:
    """Who says it, its level and the text. A line that goes on what the one before says names no level: ""."""
    found = _LINE.fullmatch(line)
    if found is None or found[2] not in _LEVELS:
        return "", "" if line else "info", line
    speakers = _SPEAKER.findall(found[1])
    return speakers[-1] if speakers else "", found[2], found[3]
