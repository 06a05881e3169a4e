"""The pulse is main's side of the beat process: it starts the process, pulses and hears it, and sees its silence."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from os import getpid
from typing import Any

from agent.beat.process import Begin, clocks_of
from agent.ipc.link import Link, Message
from agent.processes import boottime_ns
from agent.redis_client import LEAST_TIMEOUT_S
from app.pool.codec import plain
from app.pool.errors import PoolError

FIRST_S = 10.0  # that a busy host may take to start it
SILENT_INTERVALS = 2
LEAST_SILENCE_S = 3 * LEAST_TIMEOUT_S  # that it may wait for Redis, which is no fault of its own


class BeatLost(PoolError):
    """The beat process has ended or says nothing: nobody moves the deadlines on."""


class Pulse:
    """The running beat process. All calls come from main's main thread: the process ends with the thread that
    started it."""

    def __init__(self, begin: Begin) -> None:
        ours, theirs = socket.socketpair()
        self._link = Link(ours)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "agent.beat.process", str(theirs.fileno()), str(getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), begin.deadline_fd),
            )
        self._link.send({"m": "begin", "begin": plain(begin)})
        self.interval_s = clocks_of(begin.wanted).interval_s
        self._heard_at = time.monotonic() + FIRST_S
        self._due = 0.0
        self.pid = self._process.pid

    def fileno(self) -> int:
        return self._link.fileno()

    @property
    def every_s(self) -> float:
        """Seconds between two pulses; less than half of what the beat process bears."""
        return self.interval_s / 5

    def due(self, now: float) -> bool:
        """True when the next pulse is due."""
        return now >= self._due

    def send(self, beat: dict[str, Any], at_once: bool, now: float) -> None:
        """Pulse with what the beat is to say; with `at_once` it is sent now."""
        self._due = now + self.every_s
        self._link.send({"m": "pulse", "beat": beat, "at_ns": boottime_ns()})
        if at_once:
            self._link.send({"m": "now"})

    def hear(self, now: float) -> list[Message]:
        """What the beat process said since the last call. A changed interval holds for its silence too."""
        messages = self._link.receive()
        for message in messages:
            self._heard_at = now
            if message.get("wanted"):
                self.interval_s = message["wanted"]["interval_ms"] / 1000
        return messages

    def check(self, now: float, blind_s: float) -> None:
        """Raise BeatLost when the process has ended, or was silent for two intervals and longer than Redis may take.

        `blind_s`: for how long main itself stood still and could not hear it.
        """
        self._heard_at += blind_s
        if self._link.gone:
            raise BeatLost("the beat process has ended")
        most_s = max(SILENT_INTERVALS * self.interval_s, LEAST_SILENCE_S)
        if now - self._heard_at > most_s:
            raise BeatLost(f"the beat process was silent for {most_s:g} s")

    def stop(self) -> None:
        """Kill the beat process; it is the last to stop."""
        self._process.kill()
        self._process.wait()
