"""Which files show by their own format that their end is missing. What such formats look like is written out here."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.workflows.torn import torn

TS = b"\x47" + bytes(187)
M2TS = bytes(4) + b"\x47" + bytes(187)
RIFF = b"RIFF" + (92).to_bytes(4, "little") + b"AVI " + bytes(88)
PAGE = b"OggS\0%b" + bytes(21) + b"sound"
FLV = b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + b"\x09" + bytes(20) + (21).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("kind", "content", "whole"),
    [
        ("mpegts", TS * 5, True),
        ("mpegts", TS * 5 + TS[:1], False),
        ("mpegts", TS * 5 + TS[:100], False),
        ("mpegts", TS * 5 + bytes(100), True),  # zeros that fill up a block
        ("mpegts", M2TS * 5, True),
        ("mpegts", M2TS * 5 + M2TS[:100], False),
        ("mpegts", b"", True),
        ("avi", RIFF, True),
        ("avi", RIFF + b"more", True),
        ("avi", RIFF[:60], False),
        ("avi", RIFF[:4] + bytes(4) + RIFF[8:], True),  # a live recording, which does not say
        ("avi", RIFF[:4] + b"\xff" * 4 + RIFF[8:], True),
        ("ogg", PAGE % b"\2" + PAGE % b"\4", True),
        ("ogg", PAGE % b"\2" + PAGE % b"\0", False),
        ("ogg", PAGE % b"\4" + b"OggS", False),
        ("flv", FLV, True),
        ("flv", FLV[:-3], False),
        ("flv", FLV + FLV[13:20], False),
        ("matroska,webm", b"anything", True),
    ],
)
def test_a_missing_end_is_seen(tmp_path: Path, kind: str, content: bytes, whole: bool) -> None:
    path = tmp_path / "film"
    path.write_bytes(content)
    assert (torn(path, kind) is None) == whole
