"""The Python that a workflow finds: an ordinary one, though its process was forked from a slot.

What such a fork has of its slot and a new interpreter has not is undone here: streams, exit handlers, logging, and
the module `__main__`, which every process that the workflow spawns would import again.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import signal
import sys
import threading
import types
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

from agent import ROOT

OTHER = Path(__file__).with_name("other_python.py")


class NoInterpreter(Exception):
    """The Python that a workflow names does not start; the message says which and why."""


def own_streams() -> None:
    """Make sys.stdin, sys.stdout and sys.stderr anew on the descriptors 0, 1 and 2; a whole line is written at once."""
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _written(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _written(2)  # type: ignore[misc]


def forget_slot() -> None:
    """Forget what the slot has set up in this interpreter; in the fork, before anything of the workflow."""
    own_streams()
    logging.getLogger().handlers.clear()
    logging.getLogger().setLevel(logging.WARNING)
    atexit._clear()
    atexit.register(logging.shutdown)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _restore_python_path()


def become_other(python: str, line: int, keep: Collection[int], folder: Path) -> NoReturn:
    """Become another Python, with these descriptors. Raises NoInterpreter. What dies with its parent still does."""
    for fd in (line, *keep):
        os.set_inheritable(fd, True)
    os.environ.pop("PYTHONHOME", None)  # of the agent's own Python
    try:
        os.execvp(python, [python, str(OTHER), str(line), str(folder)])
    except OSError as error:
        raise NoInterpreter(f"the workflow's Python {python} cannot be started: {error}") from error


def be_main(module: str) -> None:
    """Make sys.argv the module's and `__main__` an empty module, since `-m` left the agent's own there."""
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = [module]
    atexit.register(_let_tracker_end)  # first, and so called last


def end() -> None:
    """Do what an interpreter does at its end: wait for threads, call the exit handlers, write out what is left."""
    for last in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
        with contextlib.suppress(BaseException):
            last()


def _written(fd: int) -> io.TextIOWrapper:
    # A file's name that is no UTF-8 does not fail the job that prints it.
    return os.fdopen(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _restore_python_path() -> None:
    """Take away the folder of the agent's code, which a slot's environment names first: others have an `app` too."""
    path = os.environ.pop("PYTHONPATH", "").removeprefix(str(ROOT)).removeprefix(os.pathsep)
    if path:
        os.environ["PYTHONPATH"] = path


def _let_tracker_end() -> None:
    """Wait until multiprocessing has removed shared memory that is left: its tracker would be killed at once."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    if module is not None:
        module._resource_tracker._stop()
