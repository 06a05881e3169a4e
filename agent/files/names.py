"""Names under which outputs can be reported and fetched.

A file system allows any bytes but "/" and NUL. What is no UTF-8, and control characters, are written as "%" and two
hex digits for each byte: that name is valid, shows what it was, and can stand in a link. Everything else stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from pathlib import PurePath
from urllib.parse import quote

LONGEST_BYTES = 255  # of a name, in every file system that matters
# Of a path as a link has it: gunicorn takes 4,094 bytes in the first line of a request.
LONGEST_LINK = 3800
_LONGEST_SUFFIX = 32
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def escaped(name: str) -> str:
    """The name as it can be reported, the same where nothing is odd in it; it may be longer than file systems take."""
    return _ODD.sub(lambda odd: "".join(f"%{byte:02X}" for byte in odd[0].encode("utf-8", "surrogateescape")), name)


def fits_link(name: str) -> bool:
    """True when a link to an output of this relative name is short enough."""
    return len(name) <= LONGEST_LINK // 12 or len(quote(name)) <= LONGEST_LINK


def free(name: str, taken: Callable[[str], bool]) -> str:
    """This name, short enough for a file system, and with a number before its suffix while it is taken."""
    for number in count(1):
        shortened = _shortened(name, "" if number == 1 else f"~{number}")
        if not taken(shortened):
            return shortened
    raise AssertionError  # count() does not end


def _shortened(name: str, number: str) -> str:
    path = PurePath(name)
    suffix = path.suffix if len(path.suffix.encode()) <= _LONGEST_SUFFIX else ""
    stem = name[: len(name) - len(suffix)].encode()
    room = LONGEST_BYTES - len(number.encode()) - len(suffix.encode())
    return stem[:room].decode("utf-8", "ignore") + number + suffix
