"""Servers that come with Muster's requirements and run in its home: Valkey and PostgreSQL.

Both keep their data in a folder of their own, survive kill -9 and answer to nobody without right. The
caller holds the home's lock, so a server that is found running there is left over from a former life.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.up.processes import Program

LEFTOVER_S = 5


@dataclass(frozen=True)
class Server:
    """A server: how to start it, where it answers, and a check that raises Unavailable until it does."""

    program: Program
    url: str
    check: Callable[[str], None]
    outside: Path | None = None  # a folder that is not in the home and goes when the server has ended

    def tidy(self) -> None:
        """Remove what the server has outside the home; to be called when it has ended."""
        if self.outside is not None:
            shutil.rmtree(self.outside, ignore_errors=True)


def end_leftovers(folder: Path) -> None:
    """End what a former life left running in this folder (servers work in their data's folder)."""
    for number in (signal.SIGQUIT, signal.SIGKILL):
        end = time.monotonic() + LEFTOVER_S
        for pid in _working_in(folder):
            _send(pid, number)
        while _working_in(folder) and time.monotonic() < end:
            time.sleep(0.02)


def _working_in(folder: Path) -> list[int]:
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder:
                found.append(int(link.parent.name))
        except OSError:
            continue  # the process ended meanwhile, or is another user's
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself
