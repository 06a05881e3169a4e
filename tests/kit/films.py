"""Films for tests: made by an ffmpeg, transcoded in a workflow process, and looked at as a player would."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from agent.workflows import transcode
from agent.workflows.ffmpeg import VARIABLE
from app.pool import faults
from tests.kit.workflow_scene import Message, WorkflowScene

HOSTS = "/usr/bin/ffmpeg"
NEWEST = str(imageio_ffmpeg.get_ffmpeg_exe())
SMALL = {"height": 64, "preset": "ultrafast", "segment_s": 1}
TINY = {"height": 36, "preset": "ultrafast", "segment_s": 1}
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2"]
TONE = ["-f", "lavfi", "-i", "sine=duration=3", "-c:a", "aac"]


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-y", "-loglevel", "error", *arguments], check=True)


def streams(path: Path, *entries: str) -> list[dict[str, Any]]:
    """The streams of a file, in their order."""
    argv = ["ffprobe", "-loglevel", "error", "-show_streams", *entries, "-of", "json", str(path)]
    found: list[dict[str, Any]] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["streams"]
    return found


def probed(path: Path) -> dict[str, dict[str, Any]]:
    """The streams by kind."""
    return {stream["codec_type"]: stream for stream in streams(path)}


def times(path: Path) -> list[float]:
    """When each frame is shown, as a player that decodes the file finds out."""
    what = ["-select_streams", "V:0", "-show_entries", "frame=best_effort_timestamp_time"]
    argv = ["ffprobe", "-loglevel", "error", *what, "-of", "csv=p=0", str(path)]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return [float(line.strip(",")) for line in said.split()]


def frames(path: Path) -> int:
    """How many frames a file holds."""
    return int(next(s for s in streams(path, "-count_packets") if s["codec_type"] == "video")["nb_read_packets"])


def scene(folder: Path, source: Path, program: str = NEWEST, stop_after: int = 0, **params: Any) -> WorkflowScene:
    """An attempt at transcoding with this ffmpeg; it dies after so many segments."""
    environment = {VARIABLE: program}
    if stop_after:
        environment[faults.VARIABLE] = f"transcode.segment:{stop_after}=exit"
    given = {"input": str(source), **TINY, **params}
    return WorkflowScene(folder, transcode.declaration(), given, environment=environment)


def ended(folder: Path, source: Path, program: str = NEWEST, **params: Any) -> tuple[Message, list[str]]:
    """How a whole attempt ended, and its log."""
    with scene(folder, source, program, **params) as child:
        end = child.begin().end()
    return end, child.log  # which is whole only now


def resumed(folder: Path, source: Path, after: int, program: str = NEWEST, **params: Any) -> tuple[Message, Path]:
    """How the second attempt ended where the first died after so many segments, and where its output lies."""
    with scene(folder / "a1", source, program, after, **params) as first:
        assert first.begin().silent_end(60), first.said[-1]
        assert first.process.wait(10) == faults.EXIT_CODE
    with first.resumed_by(folder / "a2", {VARIABLE: program}) as second:
        end = second.begin().end(60)
    return end, folder / "a2" / f"{source.stem}.mp4"
