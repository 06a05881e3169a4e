"""ffmpeg as the workflows use it: found, asked about a file, and run with its output followed.

ffprobe is not used: imageio-ffmpeg's wheel has none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from agent.processes import end_child
from agent.runners import children
from agent.workflows import NotOffered
from app.pool.errors import PoolError

LAST_LINES = 20
TRY_S = 10.0  # after which a driver that has not answered counts as ill

# Containers with timestamps and an index of key frames: a seek in them loses no frame.
_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


@dataclass(frozen=True)
class MediaFile:
    """A file as ffmpeg describes it; `duration_s` is None where it does not know."""

    path: Path
    duration_s: float | None
    audio: bool
    seekable: bool

    @property
    def arguments(self) -> list[str]:
        """The options that name the file as an input. A playlist may not lead to the network."""
        return ["-protocol_whitelist", "file,crypto,data", "-i", str(self.path)]


@lru_cache(maxsize=1)
def program() -> str:
    """The ffmpeg on PATH, else imageio-ffmpeg's. Raises NotOffered when there is none."""
    path = shutil.which("ffmpeg")
    if path:
        return path
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise NotOffered("ffmpeg is not found; install it, or the Python package imageio-ffmpeg") from error


def encoders() -> frozenset[str]:
    """The names of the encoders that this ffmpeg was built with."""
    return frozenset(re.findall(r"^ [A-Z.]{6} (\w+)", _said("-encoders").stdout, re.MULTILINE))


def variable_rate() -> list[str]:
    """The option that keeps every frame at its own time; its name changed in 5.1, the old one went in 8."""
    version = re.search(r"version \D?(\d+)\.(\d+)", _said("-version").stdout)
    old = version is not None and (int(version[1]), int(version[2])) < (5, 1)
    return ["-vsync" if old else "-fps_mode", "vfr"]


def probe(path: Path) -> MediaFile:
    """Ask ffmpeg about a file. Raises PoolError when ffmpeg cannot read it."""
    source = MediaFile(path, None, False, False)
    text = _said(*source.arguments).stderr
    kind = re.search(r"^Input #0, (.+), from ", text, re.MULTILINE)
    if kind is None:
        raise PoolError(f"ffmpeg cannot read {path.name}: {(text.strip().splitlines() or ['it said nothing'])[-1]}")
    long = re.search(r"^  Duration: (\d+):(\d+):(\d+\.\d+)", text, re.MULTILINE)
    duration_s = int(long[1]) * 3600 + int(long[2]) * 60 + float(long[3]) if long else None
    audio = re.search(r"^ *Stream #0:\d+.*: Audio: ", text, re.MULTILINE) is not None
    return MediaFile(path, duration_s or None, audio, kind[1] in _SEEKABLE)


def complaint(arguments: Sequence[str]) -> list[str]:
    """Run ffmpeg for TRY_S at most, whatever a driver does. Returns what it said if it failed, else nothing."""
    process = subprocess.Popen(
        _quiet(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, said = process.communicate(timeout=TRY_S)
    except subprocess.TimeoutExpired:
        end_child(process)
        return [f"it did not end within {TRY_S:g} s"]
    return _failed(process.returncode, said.splitlines())


def run(
    arguments: Sequence[str], on_line: Callable[[str], None], cwd: Path, stdin: IO[bytes] | int | None = None
) -> None:
    """Run ffmpeg to its end; `on_line` gets each line of its standard output, and ends it by raising.

    Raises PoolError with ffmpeg's last lines when it fails, and whatever `on_line` raises.
    """
    process = children.start(
        _quiet(arguments),
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors: deque[bytes] = deque(maxlen=LAST_LINES)
    reader = threading.Thread(target=errors.extend, args=(process.stderr,), name="ffmpeg errors")
    reader.start()
    try:
        for line in process.stdout:
            on_line(line.decode(errors="replace").rstrip())
    except BaseException:
        process.kill()
        raise
    finally:
        reader.join()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    if words := _failed(process.returncode, errors):
        raise PoolError("ffmpeg failed: " + "\n".join(words))


def _quiet(arguments: Sequence[str]) -> list[str]:
    return [program(), "-hide_banner", "-nostdin", "-y", "-loglevel", "error", *arguments]


def _failed(code: int, errors: Iterable[bytes]) -> list[str]:
    """What ffmpeg said when it failed, in order: the first line names the cause, the last only what came of it."""
    words = [line.decode(errors="replace").rstrip() for line in errors]
    return (words or [f"it ended with {code} and said nothing"]) if code else []


def _said(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [program(), "-hide_banner", "-nostdin", *arguments]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, errors="replace", check=False)
