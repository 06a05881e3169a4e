"""The uploader: main's thread that sends what lies in the spool to the web server, and keeps the spool small.

At least once: the server stores a portion once, however often it comes. A portion stays until the server has it, or
will never take it; while the server is away, or refuses our token, all of them wait, and also survive the agent.
What an earlier life has left is sent by this one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from agent.log import spool
from agent.log.backlog import Backlog, LogOf
from agent.log.posting import POST_ERRORS
from agent.log.spool import Portion
from app.pool.backoff import Outage
from app.pool.loop import Bell
from app.pool.model import JobId

log = logging.getLogger(__name__)

IDLE_S = 600.0
DISK_S = 1.0  # until the next try after the disk failed
# Answers that a later try may change, beside those that blame the server.
LATER = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
)


class Way(Protocol):
    """A way to the server; what `Posting` is."""

    def post(self, portion: Portion, packed: bytes) -> int:
        """The status of the answer. Raises one of POST_ERRORS when there is none."""


class Uploader:
    """One worker's. Main's thread puts portions down, `run` sends them from a thread of its own."""

    def __init__(self, folder: Path, way: Way, most_bytes: int) -> None:
        self._folder = folder
        self._way = way
        self._most_bytes = most_bytes
        self._backlog = Backlog()
        self._told: deque[Portion | LogOf] = deque()  # by main: a new portion, or that an attempt is over
        self._over: set[LogOf] = set()  # nothing more is written there
        self._refused: set[LogOf] = set()  # the log has said so
        self._full = False  # the log has said so
        self._again_at = 0.0
        self._leaving = False
        self._rest_sent = threading.Event()
        self._away = Outage(log, "log: portions wait, the server does not take them", "log: portions get through again")
        self.bell = Bell()

    def find_leftovers(self) -> None:
        """Have sent what earlier lives have left; call it before anybody writes."""
        for job, attempt in spool.attempts(self._folder):
            self.over(job, attempt)

    def put(self, portion: Portion) -> None:
        """Send a portion that was written."""
        self._told.append(portion)
        self.bell.ring()

    def over(self, job: JobId, attempt: int) -> None:
        """Look what an attempt has left, since nobody writes there any more."""
        self._told.append((job, attempt))
        self.bell.ring()

    def leave(self, seconds: float) -> bool:
        """Wait until all is sent, or the server does not take it, or `seconds` are over. False when some is left."""
        self._leaving = True
        self._again_at = 0.0
        self.bell.ring()
        return self._rest_sent.wait(seconds) and not self._backlog

    def run(self) -> None:
        """Send what comes until the bell is stopped."""
        while self.bell.wait(self._pause_s()):
            try:
                self.step()
            except OSError as error:  # of this host's disk; what was not removed is sent once more by the next life
                log.warning("log: the spool: %s", error)
                self._again_at = time.monotonic() + DISK_S

    def step(self) -> None:
        """Take in what main has told, remove what is too much, and send one portion if it is time."""
        while self._told:
            self._take_in(self._told.popleft())
        while self._backlog.bytes > self._most_bytes:
            self._make_room()
        if self._backlog and time.monotonic() >= self._again_at:
            self._send(self._backlog.next())
        if self._leaving and (not self._backlog or self._away.failures):
            self._rest_sent.set()

    def _pause_s(self) -> float:
        if not self._backlog:
            return IDLE_S
        return max(0.0, self._again_at - time.monotonic())

    def _take_in(self, told: Portion | LogOf) -> None:
        if isinstance(told, Portion):
            self._backlog.add([told])
            return
        self._over.add(told)
        self._backlog.add(spool.portions(self._folder, *told))
        self._tidy(told)

    def _make_room(self) -> None:
        if not self._full:
            log.warning("log: the spool is full, the middle of long logs goes: folder=%s", self._folder)
        self._full = True
        self._remove(self._backlog.least_missed())

    def _send(self, portion: Portion) -> None:
        try:
            packed = spool.file_of(self._folder, portion).read_bytes()
        except OSError as error:
            self._drop(portion, error)
            return
        try:
            status = self._way.post(portion, packed)
        except POST_ERRORS as error:
            self._wait(error)
            return
        refused = 400 <= status < 500 and status not in LATER
        if not 200 <= status < 300 and not refused:
            self._wait(f"it answers {status}")
            return
        self._away.over()
        if refused:
            self._drop(portion, f"the server answers {status}")
        else:
            self._remove(portion)

    def _wait(self, why: object) -> None:
        self._again_at = time.monotonic() + self._away.failed(why)

    def _drop(self, portion: Portion, why: object) -> None:
        """Give a portion up: it cannot be read, or the server will never take it."""
        whose = (portion.job, portion.attempt)
        if whose not in self._refused:
            log.warning("log: dropped: job=%s attempt=%d portion=%d: %s", *whose, portion.head.number, why)
        self._refused.add(whose)
        self._remove(portion)

    def _remove(self, portion: Portion) -> None:
        self._backlog.remove(portion)
        spool.remove(self._folder, portion)
        self._full = self._full and bool(self._backlog)
        self._tidy((portion.job, portion.attempt))

    def _tidy(self, whose: LogOf) -> None:
        """Forget an attempt that is over and of which all is sent."""
        if whose in self._over and not self._backlog.waits(whose):
            spool.remove_folder(self._folder, *whose)
            self._backlog.forget(whose)
            self._over.discard(whose)
            self._refused.discard(whose)
