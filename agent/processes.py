"""Processes of this host: who carries an attempt, who descends from whom, and how all of them are ended.

A process that calls setsid, forks twice or ignores SIGTERM stays below the nearest subreaper: the guard of
its attempt, and main when that guard has died. When main has died too, the environment that it was exec'd
with still names its worker. By these two no process of an attempt is lost sight of.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator

JOB_VARIABLE = "MUSTER_JOB"
ATTEMPT_VARIABLE = "MUSTER_ATTEMPT"
WORKER_VARIABLE = "MUSTER_WORKER"

TRACKERS_S = 1.0

Find = Callable[[], set[int]]

# From <linux/prctl.h>; the same on every architecture.
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def boottime_ns() -> int:
    """CLOCK_BOOTTIME in ns: the one clock of a host that also counts while the host is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Let the kernel send us the signal when the thread that started us ends; send it now if `parent` is gone.

    A fork clears the setting, an exec does not. The signal may come twice. Raises OSError.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it died between our fork and the call above, which then never fires
        os.kill(os.getpid(), number)


def become_subreaper() -> None:
    """Adopt the orphans among our descendants, also those that called setsid."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def become(name: str) -> None:
    """Show this name (15 bytes of it) in ps and top."""
    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def oom_kills() -> int:
    """How many processes this host's kernel has killed for want of memory, the host's or a cgroup's; 0 if hidden."""
    with contextlib.suppress(OSError), open("/proc/vmstat", "rb") as file:
        return int(next((line.split()[1] for line in file if line.startswith(b"oom_kill ")), 0))
    return 0


def carried_by(job: str | None = None, attempt: int | None = None, worker: str | None = None) -> set[int]:
    """Living processes, ourselves left out, that were exec'd with all of these in their environment.

    A workflow's own process is a fork of its slot: it carries the worker, but neither job nor attempt.
    """
    named = {JOB_VARIABLE: job, ATTEMPT_VARIABLE: attempt, WORKER_VARIABLE: worker}
    wanted = {f"{name}={value}".encode() for name, value in named.items() if value is not None}
    if not wanted:
        raise ValueError("say which job, attempt or worker")
    return {pid for pid in _pids() if pid != os.getpid() and wanted <= environment_of(pid)}


def ancestors(of: int) -> Iterator[int]:
    """The process's parent, that one's parent, and so on."""
    while (state := state_of(of)) and (of := state[1]):
        yield of


def descendants(of: int) -> set[int]:
    """Living processes below this one; zombies are left out."""
    parents = {pid: state for pid in _pids() if (state := state_of(pid))}
    children: dict[int, list[int]] = {}
    for pid, (_, parent) in parents.items():
        children.setdefault(parent, []).append(pid)
    below: set[int] = set()
    ahead = [of]
    while ahead:
        new = [pid for pid in children.get(ahead.pop(), []) if pid not in below]
        below.update(new)
        ahead.extend(new)
    return {pid for pid in below if parents[pid][0] not in "ZX"}


def kill_all(find: Find, within_s: float = 5.0) -> set[int]:
    """Send SIGKILL to what `find` finds until it finds nothing. Returns what still lives after `within_s`.

    This is repeated because a process may fork between being found and being killed. A process that waits for a
    device (state D) dies only when its call comes back.
    """
    end = time.monotonic() + within_s
    while True:
        found = find()
        if not found or time.monotonic() >= end:
            return found
        _kill_and_wait(found, end)


def bury(find: Find, within_s: float = 5.0) -> set[int]:
    """Kill as `kill_all` does, but trackers of multiprocessing last: they remove shared memory that others have left.

    A tracker does so, and ends, once all that it served are dead; it has TRACKERS_S for that.
    """
    kill_all(lambda: {pid for pid in find() if not _is_tracker(pid)}, within_s)
    _kill_and_wait(find(), time.monotonic() + TRACKERS_S, 0)
    return kill_all(find, within_s)


def end_child(child: subprocess.Popen[bytes]) -> None:
    """Kill a child and wait for it for a second at most: a process inside a hanging driver may not die."""
    child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(1)
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def reap(spare: Collection[int] = ()) -> bool:
    """Wait for our dead children, adopted ones too, up to the first in `spare`. True while any child is left."""
    try:
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in spare:
            os.waitpid(dead.si_pid, 0)
    except ChildProcessError:
        return False
    return True


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def _kill_and_wait(pids: set[int], end: float, number: int = signal.SIGKILL) -> None:
    """Kill by pidfd, which does not hit a process that got the pid meanwhile; with the number 0 only wait."""
    with contextlib.ExitStack() as stack:
        poll = select.poll()
        waiting = 0
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                pidfd = os.pidfd_open(pid)
                stack.callback(os.close, pidfd)
                signal.pidfd_send_signal(pidfd, number)
                poll.register(pidfd, select.POLLIN)
                waiting += 1
        while waiting and (left := end - time.monotonic()) > 0:
            for pidfd, _ in poll.poll(left * 1000):
                poll.unregister(pidfd)
                waiting -= 1


def _is_tracker(pid: int) -> bool:
    # Its threads are counted first: the kernel answers for the command line only when the process's memory is at rest,
    # which that of one inside a hanging driver may never be.
    fields = _stat(pid)
    if not fields or int(fields[17]) != 1:
        return False
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"multiprocessing.resource_tracker" in file.read()
    return False


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def environment_of(pid: int) -> set[bytes]:
    """The environment that a process was exec'd with; empty when it is gone, dead, or another user's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return set(file.read().split(b"\0"))
    except OSError:
        return set()


def state_of(pid: int) -> tuple[str, int] | None:
    """(state letter, parent) of a process, as ps shows them; None when it is gone."""
    fields = _stat(pid)
    return (fields[0].decode(), int(fields[1])) if fields else None


def started_at(pid: int) -> int | None:
    """When a process started, in ticks since boot: tells it from a later one of that pid. None when it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/<pid>/stat from the third on; none when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []
