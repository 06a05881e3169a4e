"""Loops that end when asked, never silently; signals that reach the main thread as a byte in a pipe.

A signal handler may not take a lock (on CPython 3.11 Event.set() in one can deadlock), so it only writes; whoever
waits on the bell reads. A step may fail: the failure is logged and the loop goes on.
"""

from __future__ import annotations

import logging
import os
import random
import select
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

log = logging.getLogger(__name__)

RING = b"r"


class Bell:
    """A pipe to wait on: `ring` wakes the waiter, `stop` ends every wait from then on."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self.stopped = False
        self.failed = False  # stopped because something has died

    def ring(self) -> None:
        """Wake the waiter; safe in a signal handler and from any thread."""
        self._put(RING)

    def stop(self, *_signal: object) -> None:
        """End every present and future wait; safe as a signal handler."""
        self.stopped = True
        self._put(RING)

    def fail(self) -> None:
        """Stop the bell because a thread has died: the process ends with an error."""
        self.failed = True
        self.stop()

    def wait(self, seconds: float) -> bool:
        """Wait for `seconds`, or until the bell rings. Returns False once it was stopped."""
        if not self.stopped and select.select([self._read], [], [], max(0.0, seconds))[0]:
            self._drain()
        return not self.stopped

    def fileno(self) -> int:
        return self._read

    def _put(self, byte: bytes) -> None:
        try:
            os.write(self._write, byte)
        except BlockingIOError:
            return  # the pipe is full of wake-ups already

    def _drain(self) -> None:
        while True:
            try:
                os.read(self._read, 4096)
            except BlockingIOError:
                return


def stop_on_signals(bell: Bell, signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> None:
    """Let these signals stop the bell; to be called in the main thread."""
    for number in signals:
        signal.signal(number, bell.stop)


@dataclass(frozen=True)
class Loop:
    """Repeats `step` every `every_seconds`, and at once when its bell rings."""

    name: str
    step: Callable[[], None]
    every_seconds: float
    bell: Bell

    def run(self) -> None:
        """Repeat until the bell is stopped."""
        while True:
            self._step()
            # Up to 10 % earlier, so that processes started together do not stay in time.
            if not self.bell.wait(self.every_seconds * random.uniform(0.9, 1.0)):
                return

    def _step(self) -> None:
        try:
            self.step()
        except Exception:
            log.exception("%s: step failed", self.name)


def start_thread(name: str, run: Callable[[], None], died: Callable[[], None]) -> threading.Thread:
    """Run it in a named daemon thread; an exception out of it is logged and `died` is called."""

    def guarded() -> None:
        try:
            run()
        except Exception:
            log.exception("%s: thread died", name)
            died()

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    thread.start()
    return thread
