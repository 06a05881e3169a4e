"""ffmpeg as the workflows use it: found, and run with its output followed.

ffprobe is not used: imageio-ffmpeg's wheel has none.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from agent.processes import end_child
from agent.runners import children
from agent.workflows import NotOffered
from agent.workflows.complaints import LEVEL, Complaints
from app.pool.errors import PoolError

VARIABLE = "MUSTER_FFMPEG"  # names the ffmpeg to use; the agent sets it for its slots once its trial has passed
TRY_S = 10.0  # after which a driver that has not answered counts as ill

NONE = "ffmpeg is not found; install it, or the Python package imageio-ffmpeg"


class Failed(PoolError):
    """ffmpeg failed; the message holds its words. `code` is its exit code, negative for a signal."""

    def __init__(self, code: int, words: Sequence[str]) -> None:
        super().__init__("ffmpeg failed: " + "\n".join(words))
        self.code = code
        self.words = words


def candidates() -> list[str]:
    """Each ffmpeg that can be found, the one to prefer first. Raises NotOffered when there is none."""
    named = os.environ.get(VARIABLE)
    found = [named] if named else [*_on_path(), *_of_imageio()]
    if not found:
        raise NotOffered(NONE)
    return found


@lru_cache(maxsize=1)
def program() -> str:
    """The ffmpeg that is used here. Raises NotOffered when there is none."""
    return candidates()[0]


def use(path: str) -> None:
    """Use this ffmpeg from now on, also in the processes that this one starts."""
    os.environ[VARIABLE] = path
    program.cache_clear()


def encoders() -> frozenset[str]:
    """The names of the encoders that this ffmpeg was built with."""
    return _encoders(program())


def variable_rate() -> list[str]:
    """The option that keeps every frame at its own time; its name changed in 5.1, the old one went in 8."""
    return ["-vsync" if _version(program()) < (5, 1) else "-fps_mode", "vfr"]


def complaint(arguments: Sequence[str]) -> list[str]:
    """Run ffmpeg for TRY_S at most, whatever a driver does. Returns what it said if it failed, else nothing."""
    process = subprocess.Popen(
        _quiet(arguments, "error"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, errors = process.communicate(timeout=TRY_S)
    except subprocess.TimeoutExpired:
        end_child(process)
        return [f"it did not end within {TRY_S:g} s"]
    return _failed(process.returncode, errors.decode(errors="replace").splitlines())


def run(
    arguments: Sequence[str],
    on_line: Callable[[str], None],
    cwd: Path,
    complaints: Complaints | None = None,
    limit_s: float | None = None,
) -> Complaints:
    """Run ffmpeg to its end; `on_line` gets each line of its standard output, and ends it by raising.

    Returns its complaints (the given object). After `limit_s` it is killed. Raises Failed, and what `on_line` raises.
    """
    complaints = complaints or Complaints()
    process = children.start(_quiet(arguments, LEVEL), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd)
    assert process.stdout is not None
    assert process.stderr is not None
    reader = threading.Thread(target=_take_all, args=(process.stderr, complaints), name="ffmpeg errors")
    reader.start()
    limit = threading.Timer(limit_s or 0, process.kill)
    if limit_s:
        limit.start()
    try:
        for line in process.stdout:
            on_line(line.decode(errors="replace").rstrip())
    except BaseException:
        process.kill()
        raise
    finally:
        reader.join()
        process.wait()
        limit.cancel()
        process.stdout.close()
        process.stderr.close()
    if words := _failed(process.returncode, complaints.lines):
        raise Failed(process.returncode, words)
    return complaints


def said(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What ffmpeg prints when it only has to answer; whether it failed is up to the caller."""
    argv = [program(), "-hide_banner", "-nostdin", *arguments]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, errors="replace", check=False)


@lru_cache(maxsize=1)
def _encoders(path: str) -> frozenset[str]:
    return frozenset(re.findall(r"^ [A-Z.]{6} (\w+)", said("-encoders").stdout, re.MULTILINE))


@lru_cache(maxsize=1)
def _version(path: str) -> tuple[int, int]:
    """Its major and minor number; where it has none it is one of the newest."""
    found = re.search(r"version \D?(\d+)\.(\d+)", said("-version").stdout)
    return (int(found[1]), int(found[2])) if found else (99, 0)


def _take_all(lines: Iterable[bytes], complaints: Complaints) -> None:
    for line in lines:
        complaints.add(line.decode(errors="replace").rstrip())


def _quiet(arguments: Sequence[str], level: str) -> list[str]:
    return [program(), "-hide_banner", "-nostdin", "-nostats", "-y", "-loglevel", level, *arguments]


def _failed(code: int, words: Sequence[str]) -> list[str]:
    """What ffmpeg said when it failed, in order: the first line names the cause, the last only what came of it."""
    return (list(words) or [f"it ended with {code} and said nothing"]) if code else []


def _on_path() -> list[str]:
    found = (shutil.which("ffmpeg", path=folder) for folder in os.get_exec_path())
    by_file: dict[str, str] = {}
    for path in found:
        if path:
            by_file.setdefault(os.path.realpath(path), path)  # /bin is often /usr/bin
    return list(by_file.values())


def _of_imageio() -> list[str]:
    try:
        import imageio_ffmpeg

        return [str(imageio_ffmpeg.get_ffmpeg_exe())]
    except (ImportError, RuntimeError):
        return []
