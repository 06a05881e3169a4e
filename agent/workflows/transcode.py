"""transcode: a video into another size and codec, segment by segment, each segment a checkpoint.

One ffmpeg encodes from the first missing segment to the end and cuts as it goes, so no frame is lost or doubled between
segments, whatever the file. Segments are MPEG-TS with the time since the video's beginning in ticks of 1/90000 s: their
bytes can be joined end to end, also when different hosts encoded them. The audio is encoded once, so it has no seams.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.context import Job, Stopped
from agent.runners import children
from agent.workflows import codecs, ffmpeg
from app.pool import faults
from app.pool.errors import PoolError
from app.pool.model import Json, Parameter, Workflow

TICKS = 90_000  # MPEG-TS' clock
# Added to all times in segments: MPEG-TS has none below 0, and the first frames of a stream are
# decoded before time 0, by two or three of their own lengths.
OFFSET_S = 3_600
PREROLL_S = 1  # a seek ends at a key frame at or before this much ahead of what is wanted
JOINED = 32  # segments that become one file, so that a checkpoint's list of files stays short
ENCODED = 0.97  # progress when all is encoded
AUDIO = "audio.m4a"
SEGMENT = "segment-{:05d}.ts"  # ffmpeg counts them as segment-%05d.ts


def declaration() -> Workflow:
    """The workflow and its parameters on this host. Raises NotOffered when there is no ffmpeg."""
    return Workflow(
        name="transcode",
        runner="python",
        target="agent.workflows.transcode:run",
        help="Transcode a video to MP4, in segments, so that it goes on where it was",
        parameters=(
            Parameter("input", "file", required=True, help="any video that ffmpeg reads"),
            Parameter(
                "codec", "choice", default="h264", choices=codecs.offered(), help="the nvenc ones need an NVIDIA GPU"
            ),
            Parameter("crf", "int", default=23, min=0, max=51, help="quality: lower is better and larger"),
            Parameter("height", "int", min=16, max=8640, help="in pixels, made even; the input's if not given"),
            Parameter(
                "preset", "choice", default="medium", choices=codecs.PRESETS, help="of the h264 and hevc encoders"
            ),
            Parameter("segment_s", "float", default=10, min=0.5, max=600, help="seconds between checkpoints"),
        ),
    )


def run(job: Job) -> Json:
    """Transcode the input. Returns the output's name and the number of segments. Raises PoolError, Stopped."""
    return _Transcode(job).run()


@dataclass(frozen=True)
class _Rest:
    """The frames that are not yet encoded: how ffmpeg gets at them, and their times."""

    arguments: list[str]
    filters: list[str]
    begin_s: float  # of the next segment
    read_from_s: float


class _Transcode:
    """One attempt: what is encoded by now, and what ffmpeg has said."""

    def __init__(self, job: Job) -> None:
        self._job = job
        path = Path(job.params["input"])
        self._source = ffmpeg.probe(path)
        self._stamp = [path.stat().st_size, path.stat().st_mtime_ns]
        self._work = job.checkpoint_dir / "work"
        self._work.mkdir(exist_ok=True)
        self._segment_s: float = job.params["segment_s"]
        self._segments = 0
        self._files: tuple[Path, ...] = ()
        self._finished: list[Path] = []  # segments that ffmpeg has named and that are not yet kept
        if job.resume and job.resume.state["source"] != self._stamp:
            job.log("the input has changed since the last attempt: beginning anew")
        elif job.resume:
            self._segments = job.resume.state["segments"]
            self._files = job.resume.files

    def run(self) -> Json:
        """Encode and join all of it, from the last checkpoint on."""
        size = self._size()
        if self._source.audio and not any(path.name == AUDIO for path in self._files):
            self._encode_audio()
        rest = self._rest()
        if not self._segments or self._frame(rest.arguments, rest.filters):
            self._encode(rest, size)
        output = self._join()
        shutil.rmtree(self._work)
        return {"output": output.name, "segments": self._segments}

    def _size(self) -> str:
        """Width and height of the output, found by trying: only ffmpeg knows what rotation makes of them.

        They are the same for all segments, though a video may change its size on the way.
        """
        height = self._job.params["height"]
        scale = f"scale=-2:{height // 2 * 2}" if height else "scale=trunc(iw/2)*2:trunc(ih/2)*2"
        first = self._frame(self._source.arguments, [scale])
        if not first:
            raise PoolError(f"{self._source.path.name} has no frame that ffmpeg can decode")
        return first

    def _frame(self, arguments: Sequence[str], filters: Sequence[str]) -> str | None:
        """Width:height of the first frame that comes out of these filters; None when none does."""
        said: list[str] = []
        chain = ["-map", "0:V:0", "-vf", ",".join(filters), "-frames:v", "1"]
        sound = ["-map", "0:a?", "-c:a", "copy", "-shortest"]  # see _zero
        ffmpeg.run([*arguments, *chain, *sound, "-f", "framecrc", "pipe:1"], said.append, self._work)
        size = re.search(r"^#dimensions 0: (\d+)x(\d+)$", "\n".join(said), re.MULTILINE)
        return f"{size[1]}:{size[2]}" if size and any(line.startswith("0,") for line in said) else None

    def _encode_audio(self) -> None:
        self._progress(0, "audio")
        arguments = ["-map", "0:a", "-c:a", "aac", "-map_chapters", "-1", "-f", "mp4", "-progress", "pipe:1", AUDIO]
        ffmpeg.run(
            [*self._source.arguments, *arguments, *self._zero("0:V:0")], lambda line: self._stop_if_asked(), self._work
        )
        self._files = (self._work / AUDIO,)

    def _zero(self, other: str) -> list[str]:
        """A second output that takes the streams which the first one does not, and drops them.

        Of some formats ffmpeg counts time from the first packet of the streams that are used, and
        mends jumps by them: audio and video must be read alike to fit together.
        """
        return ["-map", other, "-c", "copy", "-f", "null", "-"] if self._source.audio else []

    def _rest(self) -> _Rest:
        """The rest to encode; its time counts from the next segment's beginning, by which ffmpeg cuts."""
        if not self._segments:
            return _Rest(self._source.arguments, [f"settb=1/{TICKS}"], 0, 0)
        first = self._last_tick() + 1
        begin_s = self._segments * self._segment_s
        # Whole seconds are exact in the time base of every seekable container.
        seek_s = max(0, first // TICKS - PREROLL_S) if self._source.seekable else 0
        self._job.log(f"segments 1 to {self._segments} are there; going on at {first / TICKS:.3f} s")
        behind = seek_s * TICKS
        begin = round(begin_s * TICKS) - behind
        filters = [f"settb=1/{TICKS}", f"trim=start_pts={first - behind}", f"setpts=PTS-({begin})"]
        return _Rest(["-ss", str(seek_s), *self._source.arguments], filters, begin_s, seek_s)

    def _last_tick(self) -> int:
        """When the last frame of the last segment is shown, from the video's beginning."""
        times: list[int] = []

        def take(line: str) -> None:
            if line.startswith("0,"):
                times.append(int(line.split(",")[2]))

        last = ["-copyts", "-i", str(self._files[-1]), "-map", "0:v", "-c", "copy", "-f", "framecrc", "pipe:1"]
        ffmpeg.run(last, take, self._work)
        return max(times) - OFFSET_S * TICKS

    def _encode(self, rest: _Rest, size: str) -> None:
        """Encode what is left, keeping each segment as soon as ffmpeg has finished it."""
        filters = [*rest.filters, f"scale={size}", "format=yuv420p"]
        options = [
            *("-map", "0:V:0", "-vf", ",".join(filters), *ffmpeg.variable_rate(), "-enc_time_base", f"1:{TICKS}"),
            *codecs.encoding(self._job.params),
            *("-force_key_frames", f"expr:gte(t,n_forced*{self._segment_s})", "-forced-idr", "1"),
            *("-f", "segment", "-segment_time", str(self._segment_s), "-segment_start_number", str(self._segments + 1)),
            *("-segment_format", "mpegts", "-muxdelay", "0", "-muxpreload", "0", "-avoid_negative_ts", "disabled"),
            "-segment_format_options",
            f"mpegts_flags=+initial_discontinuity:output_ts_offset={OFFSET_S + rest.begin_s:.6f}",
            # One pipe for both: a line of either is written at once.
            *("-segment_list", "pipe:1", "-segment_list_type", "flat", "-progress", "pipe:1", "segment-%05d.ts"),
        ]
        ffmpeg.run([*rest.arguments, *options, *self._zero("0:a")], lambda line: self._encoding(line, rest), self._work)
        for segment in self._finished:
            self._keep(segment)

    def _encoding(self, line: str, rest: _Rest) -> None:
        self._stop_if_asked()
        name, _, value = line.partition("=")
        if name == "out_time_us" and value.isdigit():
            # ffmpeg names the furthest of all its outputs: that is the audio, which counts from where it read.
            from_s = rest.read_from_s if self._source.audio else rest.begin_s
            self._progress(max(rest.begin_s, from_s + int(value) / 1e6), f"segment {self._segments + 1}{self._of()}")
        elif line.endswith(".ts"):
            self._finished.append(self._work / line)
        # Only once the next is begun: a killed ffmpeg still ends its segment, but without its last frames.
        while self._finished and (self._work / SEGMENT.format(self._segments + 2)).exists():
            self._keep(self._finished.pop(0))

    def _keep(self, segment: Path) -> None:
        self._segments += 1
        state = {"segments": self._segments, "source": self._stamp}
        self._files = self._job.checkpoint(state, [*self._compacted(), segment])
        self._job.log(f"segment {self._segments}{self._of()} encoded")
        faults.point("transcode.segment", self._segments)

    def _compacted(self) -> tuple[Path, ...]:
        """The files by now, JOINED single segments among them made one."""
        single = [path for path in self._files if path.name.startswith("segment-")]
        if len(single) < JOINED:
            return self._files
        joined = self._work / f"segments-to-{self._segments - 1:05d}.ts"
        with joined.open("wb") as target:
            for path in single:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, target)
        return (*self._files[: -len(single)], joined)

    def _join(self) -> Path:
        """Put segments, audio, title and chapters into one file, without encoding anything."""
        self._progress(self._source.duration_s or 0, "joining")
        audio = [path for path in self._files if path.name == AUDIO]
        inputs = ["-copyts", "-itsoffset", str(-OFFSET_S), "-f", "mpegts", "-i", "pipe:0"]
        for path in audio:
            inputs += ["-i", str(path)]
        inputs += self._source.arguments
        described = str(1 + len(audio))
        maps = ["-map", "0:v:0", *(["-map", "1:a"] if audio else [])]
        maps += ["-map_metadata", described, "-map_chapters", described, "-c", "copy"]
        output = self._job.output_dir / f"{self._source.path.stem}.mp4"
        # Nothing follows the last frame to say how long it is shown; without a length players leave it out.
        last = ["-bsf:v", f"setts=pts=PTS:dts=DTS:duration=DURATION+not(DURATION)*{TICKS // 25}"]  # codespell:ignore
        how = ["-movflags", "+faststart", "-video_track_timescale", str(TICKS), "-progress", "pipe:1"]
        segments = [str(path) for path in self._files if path.name != AUDIO]
        with children.start(["cat", *segments], stdout=subprocess.PIPE) as cat:
            arguments = [*inputs, *maps, *last, *codecs.tag(self._job.params), *how, "-f", "mp4", str(output)]
            ffmpeg.run(arguments, lambda line: self._stop_if_asked(), self._work, stdin=cat.stdout)
        return output

    def _of(self) -> str:
        duration_s = self._source.duration_s
        return f" of {math.ceil(duration_s / self._segment_s)}" if duration_s else ""

    def _progress(self, seconds: float, text: str) -> None:
        share = min(1.0, seconds / self._source.duration_s) if self._source.duration_s else 0.0
        self._job.progress(ENCODED * share, text)

    def _stop_if_asked(self) -> None:
        if self._job.stopping:
            raise Stopped(f"stopped after segment {self._segments}{self._of()}")
