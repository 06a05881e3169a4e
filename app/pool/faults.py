"""Named fault points: lines between two stores where a test lets a process die, stop or sleep.

MUSTER_FAULT=<point>[:<number>]=<exit|stop|sleep seconds|file PATH>[;…] names the point, optionally the
number that the line passes, and what happens there, in whichever process has it in its environment.
`file PATH` waits until the file exists: a test holds a process at the line as long as it likes.
Without the variable a point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

VARIABLE = "MUSTER_FAULT"
EXIT_CODE = 86  # so that a log tells an injected death from a real one


def point(name: str, number: int | None = None) -> None:
    """Do what the environment says for this point; usually nothing."""
    text = os.environ.get(VARIABLE)
    if text:
        _act(text, name, number)


def _act(text: str, name: str, number: int | None) -> None:
    for rule in text.split(";"):
        at, _, action = rule.partition("=")
        if at in (name, f"{name}:{number}"):
            _do(*action.split(maxsplit=1))


def _do(verb: str, argument: str = "") -> None:
    if verb == "exit":
        os._exit(EXIT_CODE)
    elif verb == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif verb == "sleep":
        time.sleep(float(argument))
    elif verb == "file":
        while not Path(argument).exists():  # polled: the test that makes the file is another process
            time.sleep(0.02)
    else:
        raise ValueError(f"{VARIABLE}: {verb!r} is not one of exit, stop, sleep, file")
