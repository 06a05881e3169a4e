"""Segments of a film: how ffmpeg is told to cut them, what one holds, and how they become one film again.

A segment is MPEG-TS with the time since the film's beginning in ticks of 1/90000 s, so that segments fit together
which different hosts encoded. The clock of MPEG-TS begins anew after 26.5 h: what a file's first frame shows is
therefore kept beside it, and ffmpeg's concat is told where each file begins.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from agent.workflows import ffmpeg
from app.pool.errors import PoolError

TICKS = 90_000  # of MPEG-TS' clock in a second
ROUND = 1 << 33  # ticks, after which it begins anew
# Added to all times in segments: MPEG-TS has none below 0, and the first frames of a stream are
# decoded before time 0, by two or three of their own lengths.
OFFSET_S = 3_600
NAME = "segment-{:05d}.ts"  # ffmpeg counts them as segment-%05d.ts
LIST = "segments.ffconcat"
LENGTH_TICKS = TICKS // 25  # of a frame of which nothing is known
NEAR_TICKS = TICKS // 500  # to which an MP4 tells when its track begins; it counts in ms

_DISCARDED = 4  # AV_PKT_FLAG_DISCARD: the file says not to show it
_COPY = ["-c", "copy", "-f", "framecrc", "pipe:1"]


@dataclass(frozen=True)
class Encoded:
    """What is encoded of a film: in all, and the ticks at which each of its files begins."""

    segments: int = 0
    frames: int = 0
    starts: tuple[int, ...] = ()
    last: int = -1  # the tick at which the last frame is shown
    step: int = 0  # ticks from the last frame but one to the last

    def in_one_round(self, files: int) -> bool:
        """True when the last `files` files can be one: the clock begins anew in them once at most."""
        return not files or self.last - self.starts[-files] < ROUND // 2

    def compacted(self, files: int) -> Encoded:
        """What is encoded, where the last `files` files have become one."""
        return replace(self, starts=self.starts[: len(self.starts) - files + 1])


class FrameTimes:
    """The frames of a stream, by the lines of ffmpeg's framecrc: how many, the first and the last that is shown."""

    def __init__(self) -> None:
        self.count = 0
        self.first: int | None = None
        self.last: int | None = None
        self.before_last: int | None = None
        # Of the last in the order of decoding: of others an MP4 knows no more than the next one's time.
        self.duration = 0
        self.tick_s = Fraction(1, TICKS)

    def add(self, line: str) -> None:
        if line.startswith("#tb 0: "):
            self.tick_s = Fraction(line.removeprefix("#tb 0: "))
        if not line.startswith("0,") or _discarded(line):
            return
        self.count += 1
        _, _, shown, duration, *_ = (field.strip() for field in line.split(","))
        self.duration = int(duration)
        if shown.lstrip("-").isdigit():
            self._take(int(shown))

    def _take(self, shown: int) -> None:
        self.first = shown if self.first is None else min(shown, self.first)
        if self.last is None or shown > self.last:
            self.before_last, self.last = self.last, shown
        elif shown < self.last:
            self.before_last = shown if self.before_last is None else max(shown, self.before_last)


def cutting(size: str, segment_s: float, next_number: int, begin_s: float, filters: Sequence[str]) -> list[str]:
    """The options that cut what the filters let through, but for the codec's; names of finished segments go to pipe:1.

    Time counts from `begin_s`, where the next segment begins: by that ffmpeg cuts.
    """
    chain = ",".join([*filters, f"scale={size}", "format=yuv420p"])
    return [
        *("-vf", chain, *ffmpeg.variable_rate(), "-enc_time_base", f"1:{TICKS}"),
        *("-force_key_frames", f"expr:gte(t,n_forced*{segment_s})", "-forced-idr", "1"),
        *("-f", "segment", "-segment_time", str(segment_s), "-segment_start_number", str(next_number)),
        *("-segment_format", "mpegts", "-muxdelay", "0", "-muxpreload", "0", "-avoid_negative_ts", "disabled"),
        "-segment_format_options",
        f"mpegts_flags=+initial_discontinuity:output_ts_offset={OFFSET_S + begin_s:.6f}",
        # One pipe for both: a line of either is written at once.
        *("-segment_list", "pipe:1", "-segment_list_type", "flat", "-progress", "pipe:1", "segment-%05d.ts"),
    ]


def grown(encoded: Encoded, segment: Path, cwd: Path, limit_s: float | None = None) -> Encoded:
    """What is encoded with one segment more. Raises PoolError when that holds no frame."""
    shown = FrameTimes()
    ffmpeg.run(["-copyts", "-i", str(segment), "-map", "0:v", *_COPY], shown.add, cwd, limit_s=limit_s)
    if shown.first is None or shown.last is None:
        raise PoolError(f"ffmpeg has left no frame in {segment.name}")
    first, last = (tick - OFFSET_S * TICKS for tick in (shown.first, shown.last))
    rounds = max(0, -((first - encoded.last - 1) // ROUND))  # the clock's, since the frame before
    first, last = first + rounds * ROUND, last + rounds * ROUND
    before = encoded.last if shown.before_last is None else shown.before_last - OFFSET_S * TICKS + rounds * ROUND
    return Encoded(
        encoded.segments + 1,
        encoded.frames + shown.count,
        (*encoded.starts, first),
        last,
        last - before if encoded.frames + shown.count > 1 else 0,
    )


def last_length(encoded: Encoded, source: Sequence[str], cwd: Path) -> int:
    """For how many ticks the source shows its last frame; where it does not say, as long as the one before."""
    shown = FrameTimes()
    try:
        ffmpeg.run([*source, "-map", "0:V:0", *_COPY], shown.add, cwd)
    except ffmpeg.Failed:
        shown = FrameTimes()  # some streams cannot be copied, such as those without any times
    return round(shown.duration * shown.tick_s * TICKS) or encoded.step or LENGTH_TICKS


def joining(encoded: Encoded, files: Sequence[Path], cwd: Path) -> list[str]:
    """The options that name the segments as one input. Writes the list that ffmpeg reads."""
    begins = [_microseconds(tick) for tick in encoded.starts]
    lines = ["ffconcat version 1.0"]
    for place, path in enumerate(files):
        name = os.path.abspath(path).replace("'", r"'\''")
        lines.append(f"file '{name}'")
        if place + 1 < len(files):
            lines.append(f"duration {_seconds(begins[place + 1] - begins[place])}")
    (cwd / LIST).write_text("\n".join(lines) + "\n")
    return ["-copyts", "-itsoffset", _seconds(begins[0]), "-f", "concat", "-safe", "0", "-i", LIST]


def joined(length_ticks: int) -> list[str]:
    """The options of the joined film. Nothing follows the last frame to say how long it is shown: this does."""
    # Of all others an MP4 keeps the distance to the next frame, whatever length they are given.
    lengths = f"setts=pts=PTS:dts=DTS:duration={length_ticks}"  # codespell:ignore
    return ["-c", "copy", "-bsf:v", lengths, "-movflags", "+faststart", "-video_track_timescale", str(TICKS)]


def check(encoded: Encoded, output: Path, cwd: Path, limit_s: float | None = None) -> None:
    """Raise PoolError unless the joined film shows every frame that was encoded, the first and the last at its time."""
    shown = FrameTimes()
    ffmpeg.run(["-copyts", "-i", str(output), "-map", "0:v:0", *_COPY], shown.add, cwd, limit_s=limit_s)
    if shown.count != encoded.frames:
        raise PoolError(f"the joined film has {shown.count} frames, but {encoded.frames} were encoded")
    for what, found, expected in (("first", shown.first, encoded.starts[0]), ("last", shown.last, encoded.last)):
        if found is None or abs(found - expected) > NEAR_TICKS:
            at = "no time" if found is None else f"{found / TICKS:.3f} s"
            raise PoolError(f"the joined film shows its {what} frame at {at}, not at {expected / TICKS:.3f} s")


def _discarded(line: str) -> bool:
    _, found, flags = line.partition(" F=0x")
    return bool(found) and bool(int(flags.split(",")[0], 16) & _DISCARDED)


def _microseconds(tick: int) -> int:
    return round(tick * 1_000_000 / TICKS)


def _seconds(microseconds: int) -> str:
    sign = "-" if microseconds < 0 else ""
    whole, part = divmod(abs(microseconds), 1_000_000)
    return f"{sign}{whole}.{part:06d}"
