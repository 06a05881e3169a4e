"""The workflow's process is forked from its guard: nothing has to be imported, so it is there in milliseconds.

Not exec'd, it must undo by hand what exec undoes: descriptors that are not its own (one of main's sockets
held here would keep presence alive after main's death), signals, logging, and the refusal of pickle. What
/proc shows as its environment stays the slot's: main and guard know it as a descendant of its guard.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Collection, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from agent.processes import become, die_with_parent
from agent.runners.__main__ import main as run_workflow
from app.pool.pickles import allow_pickle

NAME = "muster-workflow"
MOST_FD = 2**31 - 1
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)


def fork(
    line: int, outputs: tuple[int, int], keep: Collection[int], folder: Path, environment: Mapping[str, str]
) -> int:
    """Fork a process that waits on `line` for its first line and runs what that says. Returns its pid.

    `outputs` are its standard output and error. It keeps the descriptors in `keep` open, works in `folder`, and dies
    with its guard.
    """
    guard = os.getpid()
    sys.stdout.flush()  # or the child would say it again
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _live(guard, line, outputs, keep, folder, environment)
    return pid


def _live(
    guard: int,
    line: int,
    outputs: tuple[int, int],
    keep: Collection[int],
    folder: Path,
    environment: Mapping[str, str],
) -> NoReturn:
    code = 1
    try:
        die_with_parent(signal.SIGKILL, guard)
        _forget_guard(line, outputs, keep)
        os.chdir(folder)
        os.environ.update(environment)
        become(NAME)
        run_workflow(line)
        code = 0
    except BaseException:  # noqa: BLE001 - unwinding further would run the guard's own code here
        traceback.print_exc()
    finally:
        _end(code)


def _forget_guard(line: int, outputs: tuple[int, int], keep: Collection[int]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for fd, output in enumerate(outputs, 1):
        os.dup2(output, fd)
    _close_all_but({0, 1, 2, line, *keep})
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(0, closefd=False),
        os.fdopen(1, "w", buffering=1, closefd=False, errors="backslashreplace"),
        os.fdopen(2, "w", buffering=1, closefd=False, errors="backslashreplace"),
    )
    logging.getLogger().handlers.clear()
    allow_pickle()  # its files are its own affair


def _close_all_but(spared: set[int]) -> None:
    """Close every descriptor but these: each gap between two of them by one call."""
    for below, above in pairwise([-1, *sorted(spared), MOST_FD]):
        if above > below + 1:  # os.closerange(n, n) would close all from n on
            os.closerange(below + 1, above)


def _end(code: int) -> NoReturn:
    """End as the interpreter does, without the guard's exit handlers; threads of the workflow are waited for."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # what multiprocessing does in its forks
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
