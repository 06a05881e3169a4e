"""The workflow's process, forked from its guard: nothing has to be imported, so it is there in milliseconds.

Not exec'd, it must undo by hand what exec undoes: descriptors that are not its own (one of main's sockets
held here would keep presence alive after main's death), signals, logging, and the refusal of pickle. And it
carries the slot's environment in /proc, so the attempt is written into that, where others look for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Collection, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from agent.processes import ATTEMPT_VARIABLE, JOB_VARIABLE, PLACEHOLDERS, become, die_with_parent
from agent.runners.__main__ import main as run_workflow
from app.pool.pickles import allow_pickle

NAME = "muster-workflow"
MOST_FD = 2**31 - 1
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)


def fork(line: int, output: int, keep: Collection[int], folder: Path, environment: Mapping[str, str]) -> int:
    """The pid of a process that waits on `line` for its first line and runs what that says.

    It writes to `output`, keeps these descriptors besides, works in the folder, and dies with its guard.
    """
    guard = os.getpid()
    sys.stdout.flush()  # or the child would say it again
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _live(guard, line, output, keep, folder, environment)
    return pid


def _live(
    guard: int, line: int, output: int, keep: Collection[int], folder: Path, environment: Mapping[str, str]
) -> NoReturn:
    code = 1
    try:
        die_with_parent(signal.SIGKILL, guard)
        _forget_guard(line, output, keep)
        os.chdir(folder)
        os.environ.update(environment)
        _mark(environment[JOB_VARIABLE], environment[ATTEMPT_VARIABLE])
        become(NAME)
        run_workflow(line)
        code = 0
    except BaseException:  # noqa: BLE001 - unwinding further would run the guard's own code here
        traceback.print_exc()
    finally:
        _end(code)


def _forget_guard(line: int, output: int, keep: Collection[int]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    _close_all_but({0, 1, 2, line, *keep})
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(0, closefd=False),
        os.fdopen(1, "w", buffering=1, closefd=False, errors="backslashreplace"),
        os.fdopen(2, "w", buffering=1, closefd=False, errors="backslashreplace"),
    )
    logging.getLogger().handlers.clear()
    allow_pickle()  # its files are its own affair


def _close_all_but(kept: set[int]) -> None:
    """What lies between them, at one blow each."""
    for below, above in pairwise([-1, *sorted(kept), MOST_FD]):
        if above > below + 1:  # os.closerange(n, n) would close all from n on
            os.closerange(below + 1, above)


def _mark(job: str, attempt: str) -> None:
    """Write job and attempt over the placeholders in the memory that /proc/<pid>/environ shows.

    A fork shows its parent's, and only an exec makes a new one. A process that was not started with the
    placeholders (a test's) is left as it is.
    """
    for name, value in ((JOB_VARIABLE, job), (ATTEMPT_VARIABLE, attempt.zfill(len(PLACEHOLDERS[ATTEMPT_VARIABLE])))):
        if name in places():
            ctypes.memmove(places()[name], value.encode(), len(PLACEHOLDERS[name]))


@cache
def places() -> Mapping[str, int]:
    """Where in memory the placeholders' values lie; in a fork at the same addresses, so one look is enough."""
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(stat[47]), int(stat[48])  # env_start, env_end: fields 50 and 51 of proc(5)
    block = b"\0" + ctypes.string_at(start, end - start)
    found = {name: block.find(f"\0{name}={value}\0".encode()) for name, value in PLACEHOLDERS.items()}
    return {name: start + at + len(name) + 1 for name, at in found.items() if at >= 0}


def _end(code: int) -> NoReturn:
    """As the interpreter ends, but for the guard's own farewells; threads of the workflow are waited for."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # what multiprocessing does in its forks
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
