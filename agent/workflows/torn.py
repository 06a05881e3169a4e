"""Files whose end is missing without ffmpeg minding: what their own format says of it.

Of a recording that was cut between two packets of MPEG-TS nobody can say so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # bytes of one, and before its first
_TS_SYNC = 0x47  # the first of each
_OGG_PAGE, _OGG_FLAGS, _OGG_LAST = b"OggS", 5, 4
_OGG_LONGEST = 65_307  # bytes of a page
_FLV_TAGS = b"\x08\x09\x12"  # sound, picture, script; behind each stands its length


def torn(path: Path, kind: str) -> str | None:
    """In words, what shows that the end of a file is missing; None where nothing does. `kind` is ffmpeg's."""
    looks = {"mpegts": _of_ts, "avi": _of_riff, "ogg": _of_ogg, "flv": _of_flv}
    if kind not in looks:
        return None
    with path.open("rb") as file:
        return looks[kind](file, file.seek(0, os.SEEK_END))


def _of_ts(file: BinaryIO, size: int) -> str | None:
    for packet, head in _TS_PACKETS:
        file.seek(max(0, size // packet * packet - packet))
        tail = file.read()
        # Zeros may fill up the last block of a file: what is torn begins like a packet.
        if packet + head < len(tail) < 2 * packet and tail[head] == tail[packet + head] == _TS_SYNC:
            return "it ends in the middle of a packet"
    return None


def _of_riff(file: BinaryIO, size: int) -> str | None:
    file.seek(4)
    said = int.from_bytes(file.read(4), "little")
    missing = said + 8 - size
    # A live recording says 0 or the most.
    return f"{missing} bytes are missing of those that it declares" if missing > 0 and said < 0xFFFFFFFF else None


def _of_ogg(file: BinaryIO, size: int) -> str | None:
    file.seek(max(0, size - 2 * _OGG_LONGEST))
    tail = file.read()
    page = tail.rfind(_OGG_PAGE)
    last = page >= 0 and page + _OGG_FLAGS < len(tail) and tail[page + _OGG_FLAGS] & _OGG_LAST
    return None if last else "its last page is not there"


def _of_flv(file: BinaryIO, size: int) -> str | None:
    file.seek(max(0, size - 4))
    length = int.from_bytes(file.read(4), "big")
    file.seek(max(0, size - 4 - length))
    return None if length and file.read(1) in _FLV_TAGS else "its last part is not whole"
