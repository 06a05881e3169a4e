"""Processes that we start and end: each in a session of its own, and none outlives the one that started it.

The kernel sends the death signal when the *thread* that called `start` ends: call it from the main thread. The
programs are not ours (servers), or drop privileges first, so setpriv asks for the signal; an agent's processes, which
are often forks without an exec, ask for it themselves (agent/processes.py).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.pool.errors import PoolError

Process = subprocess.Popen[bytes]

# Below the ports that Linux gives to outgoing connections (32768 and up), so a port stays free once chosen.
PORTS = range(20000, 30000)


@dataclass(frozen=True)
class Program:
    """A program: what is run and how it ends."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] | None = None  # None: ours
    folder: Path | None = None  # None: ours
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL  # what it gets when we die
    privileges: tuple[str, ...] = ()  # arguments of setpriv


def start(program: Program, output: int) -> Process:
    """Run the program; its output and errors go to the file descriptor `output`. Raises PoolError."""
    # setpriv sets the death signal last, as a change of user clears it.
    death = f"--pdeathsig={program.death_signal.name.removeprefix('SIG')}"
    try:
        return subprocess.Popen(
            ["setpriv", *program.privileges, death, "--", *program.argv],
            env=program.environment,
            cwd=program.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a terminal's Ctrl-C stays with us
        )
    except OSError as error:
        raise PoolError(f"{program.name} cannot be started (setpriv of util-linux is needed): {error}") from error


def stop(process: Process, stop_signal: signal.Signals, within_s: float) -> None:
    """Ask a process to end; what is left of its group after `within_s` is killed."""
    process.send_signal(stop_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(within_s)
    kill_group(process)
    process.wait()


def kill_group(process: Process) -> None:
    """Send SIGKILL to all that is left of the process's group, which is often nothing."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def free_port() -> int:
    """A free TCP port of 127.0.0.1. Raises PoolError when none is found."""
    for port in random.sample(PORTS, 100):
        if listen_problem("127.0.0.1", port) is None:
            return port
    raise PoolError("no free port was found")


def listen_problem(address: str, port: int) -> str | None:
    """Why this process could not listen there now; None where it could."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what closed a moment ago does not count
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.strerror or str(error)
    return None
