"""The spooler: a guard's own thread that makes portions of what its attempt says and writes them into the spool.

The guard waits neither for it nor for the disk. While too much waits here the guard does not read its workflow's
output, and the workflow waits in its own write. When that takes too long, the disk hangs: then what comes is dropped
until the thread goes on, and the place of what follows tells how much. A disk that is full costs single portions, the
death of the thread the rest of the log. The job goes on in every case.

Start it after the last fork of its process: it is begun by the first passage.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from pathlib import Path

from agent.log import spool
from agent.log.attempt_log import Passage
from agent.log.draft import Draft, pieces
from app.pool.log.portion import PortionHead
from app.pool.loop import Bell, start_thread

log = logging.getLogger(__name__)

MOST_WAITING = 8 * 1024 * 1024  # bytes of text
STUCK_S = 10.0  # without a step of the thread, while that much waits
FIRST_S, MORE_S, MOST_S = 0.25, 0.02, 2.0  # how long a portion stays open: the first, more for each one, at most


class Spooler:
    """One attempt's. `bell` rings when a portion was written, and at the end of all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = threading.Condition()
        self._passages: deque[Passage] = deque()
        self._waiting = 0  # bytes
        self._moved_at = time.monotonic()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._dropping = False
        self._draft = Draft()
        self._due_at = 0.0  # when the draft is to be written
        self._portions = 0
        self._failed = False  # the last portion could not be written
        self.ended = False  # nothing more will be written
        self._written: deque[tuple[PortionHead, int]] = deque()
        self.bell = Bell()

    def take(self, passage: Passage) -> None:
        """Put a passage down for the thread; it is dropped when that is dead or stuck."""
        with self._changed:
            if self.ended or self._stuck():
                self._drop()
                return
            self._dropping = False
            self._passages.append(passage)
            self._waiting += len(passage.text)
            self._changed.notify()
        if self._thread is None:
            self._start()

    @property
    def room(self) -> bool:
        """True when more may be read: it will be kept, or dropped at once."""
        with self._changed:
            return self._waiting < MOST_WAITING or self.ended or self._stuck()

    def close(self) -> None:
        """Write the last portion, if there was any; `ended` tells when that is done."""
        with self._changed:
            self._closing = True
            self.ended = self.ended or self._thread is None
            self._changed.notify()

    def written(self) -> list[tuple[PortionHead, int]]:
        """Head and size of each portion that was written since the last call."""
        self.bell.wait(0)
        return [self._written.popleft() for _ in range(len(self._written))]

    def _stuck(self) -> bool:
        return self._waiting >= MOST_WAITING and time.monotonic() > self._moved_at + STUCK_S

    def _drop(self) -> None:
        if not self._dropping:
            log.warning("log: what comes now is lost, the disk does not take it: folder=%s", self._folder)
        self._dropping = True

    def _start(self) -> None:
        try:
            self._thread = start_thread("log", self._run, self._die)
        except RuntimeError as error:  # this host lets nobody start a thread now
            log.warning("log: it is lost: folder=%s: %s", self._folder, error)
            self._die()

    def _die(self) -> None:
        self.ended = True
        self.bell.ring()

    def _run(self) -> None:
        while (passage := self._next()) or not self._over:
            for piece in pieces(passage) if passage else ():
                self._add(piece)
            if not self._draft.empty and time.monotonic() >= self._due_at:
                self._write()
        if self._draft.begun:
            self._write(last=True)
        self._die()

    @property
    def _over(self) -> bool:
        return self._closing and not self._passages

    def _next(self) -> Passage | None:
        """The next passage, as soon as there is one; None when the draft is due or all is over."""
        with self._changed:
            self._moved_at = time.monotonic()
            left_s = None if self._draft.empty else max(0.0, self._due_at - self._moved_at)
            if not self._passages and not self._closing:
                self._changed.wait(left_s)
            self._moved_at = time.monotonic()
            if not self._passages:
                return None
            passage = self._passages.popleft()
            self._waiting -= len(passage.text)
            return passage

    def _add(self, piece: Passage) -> None:
        if not self._draft.fits(piece):
            self._write()
        if self._draft.empty:
            self._due_at = time.monotonic() + min(FIRST_S + MORE_S * self._portions, MOST_S)
        self._draft.add(piece)

    def _write(self, last: bool = False) -> None:
        head, packed = self._draft.close(last)
        self._portions += 1
        try:
            spool.write(self._folder, head, packed)
        except OSError as error:
            if not self._failed:
                log.warning("log: a portion is lost, and more while this lasts: folder=%s: %s", self._folder, error)
            self._failed = True
            return
        self._failed = False
        self._written.append((head, len(packed)))
        self.bell.ring()
