"""Processes of the pool under test: found, frozen and killed. A process that ends meanwhile is left out."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterable
from pathlib import Path


def alive(pid: int) -> bool:
    """True for a process that runs; a dead one that nobody has waited for does not."""
    return (_stat(pid) or [b"X"])[0] not in (b"Z", b"X")


def alive_with(variable: str, value: str) -> dict[int, str]:
    """Living processes that were exec'd with this in their environment, and what they run."""
    mark = f"{variable}={value}".encode()
    return _alive(lambda pid: mark in _read(pid, "environ").split(b"\0"))


def alive_below(folder: Path) -> dict[int, str]:
    """Living processes that work somewhere below this folder, and what they run."""
    return _alive(lambda pid: folder in _folder(pid).parents)


def of_job(job: str, attempt: int | None = None) -> set[int]:
    """Living processes of a job, or of one attempt: exec'd with its name, or at work in its output folder."""
    named = {f"MUSTER_JOB={job}".encode()} | ({f"MUSTER_ATTEMPT={attempt}".encode()} if attempt else set())
    folder = {job} | ({f"a{attempt}"} if attempt else set())

    def wanted(pid: int) -> bool:
        return named <= set(_read(pid, "environ").split(b"\0")) or folder <= set(_folder(pid).parts)

    return set(_alive(wanted))


def command_line(pid: int) -> str:
    """The command line of a process; empty when it has ended."""
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def parent(pid: int) -> int:
    """The parent of a process that is there."""
    return int(_stat(pid)[1])


def started(pid: int) -> int:
    """When a process that is there started, in ticks since boot; process ids do not tell, as they wrap around."""
    return int(_stat(pid)[19])


def children(pid: int, module: str | None = None) -> list[int]:
    """The living children of a process, only those that run `module` when one is given."""
    try:
        texts = [(each / "children").read_text() for each in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []
    found = [int(child) for text in texts for child in text.split() if alive(int(child))]
    return [child for child in found if not module or module.encode() in _read(child, "cmdline").split(b"\0")]


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to those of the processes that still live."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it has just ended


def kill_together(pids: Collection[int]) -> None:
    """Kill processes in one blow: none sees another's death before its own."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        send(number, pids)


def _alive(wanted: Callable[[int], bool]) -> dict[int, str]:
    """The wanted processes with their command lines; one that is just ending has no command line and is left out."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {pid: line for pid in pids if wanted(pid) and alive(pid) and (line := command_line(pid))}


def _folder(pid: int) -> Path:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return Path("/")


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/<pid>/stat from the state on; empty when the process is gone."""
    return _read(pid, "stat").rpartition(b")")[2].split()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
