"""The film that is to be transcoded: what ffmpeg says of it, and whether it is still the same file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from agent.context import Permanent
from agent.workflows import ffmpeg
from agent.workflows.complaints import Complaints
from app.pool.errors import PoolError

# Containers with timestamps and an index of key frames: a seek in them loses no frame.
_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_STREAMED = {"mpegts", "mpeg", "mpegvideo", "h264", "hevc"}

_KIND = re.compile(r"^Input #0, (.+), from ", re.MULTILINE)
_DURATION = re.compile(r"^  Duration: (\d+):(\d+):(\d+\.\d+)", re.MULTILINE)
_STREAM = re.compile(r"^ *Stream #0:(\d+)(?:\[[^]]*\])?(?:\([^)]*\))?: (Audio|Video): (.*)$", re.MULTILINE)
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+(?=\])")
_TIMECODE = re.compile(r"^ +timecode +: (\d\d:\d\d:\d\d[:;.]\d\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Track:
    """A sound track: its number among the file's streams, and how ffmpeg describes it."""

    stream: int
    about: str


@dataclass(frozen=True)
class MediaFile:
    """A file as ffmpeg describes it; `duration_s` is what it declares, None where it does not."""

    path: Path
    kind: str = ""
    duration_s: float | None = None
    video: bool = False  # cover pictures are none
    sound: tuple[Track, ...] = ()
    timecode: str | None = None

    @property
    def arguments(self) -> list[str]:
        """The options that name the file as an input. A playlist may not lead to the network."""
        return ["-protocol_whitelist", "file,crypto,data", "-i", str(self.path)]

    @property
    def seekable(self) -> bool:
        return self.kind in _SEEKABLE

    @property
    def may_begin_anywhere(self) -> bool:
        """True for a recording of a stream, whose first frames may lack what they refer to."""
        return self.kind in _STREAMED


class Watched:
    """The file behind a path, from now on: whether it changes, grows, or is replaced.

    It is held open: some file systems of a network give a file a new number once nobody holds it.
    """

    def __init__(self, path: Path) -> None:
        """Raises PoolError when it cannot be opened."""
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise PoolError(f"{path.name} cannot be read: {error.strerror}") from error
        self.stamp = _stamp(os.fstat(self._file.fileno()))

    def changed(self) -> bool:
        """True when the path no longer leads to the same file with the same content."""
        try:
            now = self.path.stat()
        except OSError:
            return True
        return not os.path.samestat(now, os.fstat(self._file.fileno())) or _stamp(now) != self.stamp


def probe(path: Path) -> MediaFile:
    """Ask ffmpeg about a file. Raises Permanent when ffmpeg knows no such kind, PoolError when it is unreadable."""
    text = ffmpeg.said(*MediaFile(path).arguments).stderr
    kind = _KIND.search(text)
    if kind is None:
        raise _refusal(path, text.strip().splitlines() or ["ffmpeg said nothing"])
    long, timecode = _DURATION.search(text), _TIMECODE.search(text)
    duration_s = int(long[1]) * 3600 + int(long[2]) * 60 + float(long[3]) if long else None
    streams = [(int(number), what, about) for number, what, about in _STREAM.findall(text)]
    return MediaFile(
        path,
        kind[1],
        duration_s or None,
        any(what == "Video" and "(attached pic)" not in about for _, what, about in streams),
        tuple(Track(number, about) for number, what, about in streams if what == "Audio"),
        timecode[1] if timecode else None,
    )


def _refusal(path: Path, lines: list[str]) -> PoolError:
    complaints = Complaints()
    for line in lines:
        complaints.add(line)
    kind = PoolError if complaints.unreadable else Permanent
    why = complaints.unreadable or complaints.damage or lines[-1]
    return kind(f"ffmpeg cannot read {path.name}: {_ADDRESS.sub('', why)}")


def _stamp(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns]
