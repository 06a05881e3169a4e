"""The workflow's process is forked from its guard: nothing has to be imported, so it is there in milliseconds.

Not exec'd, it must undo by hand what exec undoes: descriptors that are not its own (one of main's sockets
held here would keep presence alive after main's death), signals, the refusal of pickle, and what the slot has set
up in its interpreter (agent/runners/interpreter.py). What /proc shows as its environment stays the slot's: main and
guard know it as a descendant of its guard.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from agent.processes import become, die_with_parent
from agent.runners import interpreter
from agent.runners.__main__ import NAME
from agent.runners.__main__ import main as run_workflow
from app.pool.pickles import allow_pickle

MOST_FD = 2**31 - 1
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)


def fork(
    line: int,
    outputs: tuple[int, int],
    keep: Collection[int],
    folder: Path,
    environment: Mapping[str, str],
    python: str,
) -> int:
    """Fork a process that waits on `line` for its first line and runs what that says. Returns its pid.

    `outputs` are its standard output and error. It keeps the descriptors in `keep` open, works in `folder`, and dies
    with its guard. Where `python` names another interpreter it becomes that.
    """

    def be_workflow() -> None:
        _forget_guard(line, outputs, keep)
        os.environ.update(environment)
        if python:
            interpreter.become_other(python, line, keep, folder)
        os.chdir(folder)
        become(NAME)
        run_workflow(line)

    guard = os.getpid()
    sys.stdout.flush()  # or the child would say it again
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _live(guard, be_workflow)
    return pid


def _live(guard: int, be_workflow: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        die_with_parent(signal.SIGKILL, guard)
        be_workflow()
        code = 0
    except interpreter.NoInterpreter as error:
        print(error, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - unwinding further would run the guard's own code here
        traceback.print_exc()
    finally:
        interpreter.end()  # without the guard's exit handlers
        os._exit(code)


def _forget_guard(line: int, outputs: tuple[int, int], keep: Collection[int]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for fd, output in enumerate(outputs, 1):
        os.dup2(output, fd)
    _close_all_but({0, 1, 2, line, *keep})
    interpreter.forget_slot()
    allow_pickle()  # its files are its own affair


def _close_all_but(spared: set[int]) -> None:
    """Close every descriptor but these: each gap between two of them by one call."""
    for below, above in pairwise([-1, *sorted(spared), MOST_FD]):
        if above > below + 1:  # os.closerange(n, n) would close all from n on
            os.closerange(below + 1, above)
