"""transcode: a video into another size and codec, segment by segment, each segment a checkpoint.

One ffmpeg encodes from the first missing segment to the end and cuts as it goes, so no frame is lost or doubled between
segments, whatever the file. The audio is encoded once, so it has no seams. What is joined is counted: a film that lacks
a frame is a failure.
"""

from __future__ import annotations

import math
import os
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from agent.context import Job, Permanent, Stopped
from agent.workflows import codecs, ffmpeg, segments, trial
from agent.workflows.reading import Reader
from agent.workflows.segments import TICKS, Encoded
from agent.workflows.source import Track, probe
from agent.workflows.torn import torn
from app.pool import faults
from app.pool.errors import PoolError
from app.pool.model import Json, Parameter, Workflow

PREROLL_S = 1  # a seek ends at a key frame at or before this much ahead of what is wanted
JOINED = 32  # segments that become one file, so that a checkpoint's list of files stays short
ENCODED = 0.97  # progress when all is encoded
AUDIO = "audio.m4a"
SHORT = 0.98, 1.0  # of the declared duration, and seconds less than it: a film that ends before is worth a warning


def declaration() -> Workflow:
    """The workflow and its parameters on this host. Raises NotOffered when no ffmpeg here passes a trial."""
    trial.choose()
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
            Parameter(
                "allow_damaged",
                "bool",
                default=False,
                help="take what can be decoded of a damaged input; else it fails",
            ),
        ),
    )


def run(job: Job) -> Json:
    """Transcode the input. Returns the output's name, the number of segments and what people should look at.

    Raises Permanent when no further attempt can succeed either, PoolError when one may, Stopped.
    """
    return _Transcode(job).run()


def output_name(stem: str, most_bytes: int = 255) -> str:
    """The name of the film from the input's, without line breaks and the like, and as short as a file system wants."""
    odd = {"Cc", "Cs", "Zl", "Zp"}
    plain = "".join("_" if unicodedata.category(letter) in odd else letter for letter in stem)
    return plain.encode()[: most_bytes - len(".mp4")].decode(errors="ignore") + ".mp4"


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
        self._work = job.checkpoint_dir / "work"
        self._work.mkdir(exist_ok=True)
        path = Path(job.params["input"])
        self._output = job.output_dir / output_name(path.stem, os.pathconf(job.output_dir, "PC_NAME_MAX"))
        self._reader = Reader(job, path, self._work)
        self._film = self._reader.film
        self._segment_s: float = job.params["segment_s"]
        self._encoded = Encoded()
        self._files: tuple[Path, ...] = ()
        self._sound: tuple[Track, ...] = ()
        self._finished: list[Path] = []  # segments that ffmpeg has named and that are not yet kept
        self._frames = 0  # that ffmpeg says it has encoded in this attempt
        self._resume()

    def run(self) -> Json:
        """Encode and join all of it, from the last checkpoint on."""
        if not self._film.video:
            raise Permanent(f"{self._film.path.name} has no picture that moves: it is no film")
        if why := torn(self._film.path, self._film.kind):
            self._reader.damaged(why)
        self._look_for_sound()
        size = self._size()
        if self._sound and not self._audio:
            self._encode_audio()
        rest = self._rest()
        if not self._encoded.segments or self._reader.first_frame(rest.arguments, rest.filters, self._zero()):
            self._encode(rest, size)
        self._reader.require_unchanged()
        self._join()
        self._reader.require_unchanged()
        self._compare_durations()
        shutil.rmtree(self._work)
        return {
            "output": self._output.name,
            "segments": self._encoded.segments,
            "frames": self._encoded.frames,
            "warnings": self._reader.warnings,
        }

    def _resume(self) -> None:
        if self._job.resume is None:
            return
        state = self._job.resume.state
        if state.get("source") != self._reader.stamp or "encoded" not in state:
            self._job.log("the input has changed since the last attempt: beginning anew")
            return
        self._encoded = Encoded(**{**state["encoded"], "starts": tuple(state["encoded"]["starts"])})
        self._files = self._job.resume.files
        self._reader.warnings += state["warnings"]

    @property
    def _audio(self) -> list[Path]:
        return [path for path in self._files if path.name == AUDIO]

    @property
    def _video(self) -> list[Path]:
        return [path for path in self._files if path.name != AUDIO]

    @property
    def _sound_maps(self) -> list[str]:
        return [option for track in self._sound for option in ("-map", f"0:{track.stream}")]

    def _look_for_sound(self) -> None:
        self._progress(0, "looking at the sound")
        self._sound = self._reader.sound()

    def _size(self) -> str:
        """Width and height of the output, found by trying: only ffmpeg knows what rotation makes of them.

        They are the same for all segments, though a video may change its size on the way.
        """
        height = self._job.params["height"]
        scale = f"scale=-2:{height // 2 * 2}" if height else "scale=trunc(iw/2)*2:trunc(ih/2)*2"
        # One thread: what it says until the first frame is then what it will say there again.
        first = self._reader.first_frame(["-threads", "1", *self._film.arguments], [scale], self._zero())
        if not first:
            raise Permanent(f"{self._film.path.name} has no frame that ffmpeg can decode")
        return first

    def _encode_audio(self) -> None:
        self._progress(0, "audio")
        arguments = [*self._sound_maps, "-c:a", "aac", "-map_chapters", "-1", "-f", "mp4", "-progress", "pipe:1", AUDIO]
        self._reader.run([*self._film.arguments, *arguments, "-map", "0:V:0", "-c", "copy", "-f", "null", "-"])
        self._files = (self._work / AUDIO,)

    def _zero(self) -> list[str]:
        """A second output that takes the sound which the first one does not, and drops it.

        Of some formats ffmpeg counts time from the first packet of the streams that are used, and
        mends jumps by them: audio and video must be read alike to fit together.
        """
        return [*self._sound_maps, "-c", "copy", "-f", "null", "-"] if self._sound else []

    def _rest(self) -> _Rest:
        """The rest to encode; its time counts from the next segment's beginning, by which ffmpeg cuts."""
        done = self._encoded
        if not done.segments:
            return _Rest(self._film.arguments, [f"settb=1/{TICKS}"], 0, 0)
        first = done.last + 1
        begin_s = done.segments * self._segment_s
        # Whole seconds are exact in the time base of every seekable container.
        seek_s = max(0, first // TICKS - PREROLL_S) if self._film.seekable else 0
        self._job.log(f"segments 1 to {done.segments} are there; going on at {first / TICKS:.3f} s")
        behind = seek_s * TICKS
        begin = round(begin_s * TICKS) - behind
        filters = [f"settb=1/{TICKS}", f"trim=start_pts={first - behind}", f"setpts=PTS-({begin})"]
        # Never a seek to 0: after one, frames of AVI have no times and are dropped.
        seek = ["-ss", str(seek_s)] if seek_s else []
        return _Rest([*seek, *self._film.arguments], filters, begin_s, seek_s)

    def _encode(self, rest: _Rest, size: str) -> None:
        """Encode what is left, keeping each segment as soon as ffmpeg has finished it."""
        before = self._encoded.frames
        options = [
            *("-map", "0:V:0", *codecs.encoding(self._job.params)),
            *segments.cutting(size, self._segment_s, self._encoded.segments + 1, rest.begin_s, rest.filters),
        ]
        self._reader.run([*rest.arguments, *options, *self._zero()], lambda line: self._encoding(line, rest))
        for segment in self._finished:
            self._keep(segment)
        if self._encoded.frames - before != self._frames:
            raise PoolError(f"segments hold {self._encoded.frames - before} frames, but {self._frames} were encoded")

    def _encoding(self, line: str, rest: _Rest) -> None:
        name, _, value = line.partition("=")
        if name == "frame":
            self._frames = int(value)
        elif name == "out_time_us" and value.isdigit():
            # ffmpeg names the furthest of all its outputs: that is the audio, which counts from where it read.
            from_s = rest.read_from_s if self._sound else rest.begin_s
            text = f"segment {self._encoded.segments + 1}{self._of()}"
            self._progress(max(rest.begin_s, from_s + int(value) / 1e6), text)
        elif line.endswith(".ts"):
            self._finished.append(self._work / line)
        # Only once the next is begun: a killed ffmpeg still ends its segment, but without its last frames.
        while self._finished and (self._work / segments.NAME.format(self._encoded.segments + 2)).exists():
            self._keep(self._finished.pop(0))

    def _keep(self, segment: Path) -> None:
        files = self._compacted()
        self._encoded = segments.grown(self._encoded, segment, self._work)
        state = {"source": self._reader.stamp, "encoded": vars(self._encoded), "warnings": self._reader.warnings}
        self._files = self._job.checkpoint(state, [*files, segment])
        self._job.log(f"segment {self._encoded.segments}{self._of()} encoded")
        faults.point("transcode.segment", self._encoded.segments)

    def _compacted(self) -> tuple[Path, ...]:
        """The files by now, JOINED single segments among them made one."""
        single = [path for path in self._files if path.name.startswith("segment-")]
        if len(single) < JOINED or not self._encoded.in_one_round(len(single)):
            return self._files
        joined = self._work / f"segments-to-{self._encoded.segments:05d}.ts"
        with joined.open("wb") as target:
            for path in single:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, target)
        self._encoded = self._encoded.compacted(len(single))
        return (*self._files[: -len(single)], joined)

    def _join(self) -> None:
        """Put segments, audio, title, chapters and timecode into one file, without encoding anything."""
        self._progress(self._film.duration_s or 0, "joining")
        inputs = segments.joining(self._encoded, self._video, self._work)
        for path in self._audio:
            inputs += ["-i", str(path)]
        described = str(1 + len(self._audio))
        maps = ["-map", "0:v:0", *(["-map", "1:a"] if self._audio else [])]
        maps += ["-map_metadata", described, "-map_chapters", described]
        timecode = ["-timecode", self._film.timecode] if self._film.timecode else []
        how = [*segments.joined(self._last_length()), *codecs.tag(self._job.params), *timecode, "-progress", "pipe:1"]
        arguments = [*inputs, *self._film.arguments, *maps, *how, "-f", "mp4", str(self._output)]
        ffmpeg.run(arguments, lambda line: self._stop_if_asked(), self._work)
        segments.check(self._encoded, self._output, self._work)

    def _last_length(self) -> int:
        near_s = self._encoded.last // TICKS - PREROLL_S
        seek = ["-ss", str(near_s)] if self._film.seekable and near_s > 0 else []
        return segments.last_length(self._encoded, [*seek, *self._film.arguments], self._work)

    def _compare_durations(self) -> None:
        """Warn where the film ends before the source says."""
        declared_s, is_s = self._film.duration_s, probe(self._output).duration_s
        if declared_s and is_s and is_s < min(declared_s * SHORT[0], declared_s - SHORT[1]):
            self._reader.warn(f"the film ends after {is_s:.1f} s, though the input says that it has {declared_s:.1f} s")

    def _of(self) -> str:
        duration_s = self._film.duration_s
        return f" of {math.ceil(duration_s / self._segment_s)}" if duration_s else ""

    def _progress(self, seconds: float, text: str) -> None:
        share = min(1.0, seconds / self._film.duration_s) if self._film.duration_s else 0.0
        self._job.progress(ENCODED * share, text)

    def _stop_if_asked(self) -> None:
        if self._job.stopping:
            raise Stopped(f"stopped after segment {self._encoded.segments}{self._of()}")
