"""First steps as they happen: each no-op sends the bench the moment of its first line (CLOCK_MONOTONIC)."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.kit.noop import MARKS
from bench.kit.pool import Pool, noop_pool

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Mark:
    """A first step; `began_s` is when its process was made, to a tick. Seconds of CLOCK_MONOTONIC."""

    at_s: float
    began_s: float


class Marks:
    """Filled by a thread of its own, so that no no-op waits for the bench."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._found: dict[str, Mark] = {}
        self._news = threading.Condition()
        threading.Thread(target=self._listen, name="marks", daemon=True).start()

    def of(self, job: str, seconds: float = 60) -> Mark:
        """The first step of this job. Raises TimeoutError."""
        self.all_of([job], seconds)
        return self._found[job]

    def all_of(self, jobs: list[str], seconds: float = 600) -> list[float]:
        """The first steps of all of these in the order of time. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: self._found.keys() >= set(jobs), seconds):
                raise TimeoutError(f"{len(set(jobs) - self._found.keys())} of {len(jobs)} jobs have not begun")
            return sorted(self._found[job].at_s for job in jobs)

    def _listen(self) -> None:
        # A process' start is counted from boot, suspended time included.
        offset_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        while text := self._channel.recv(4096):
            job, at_ns, ticks = json.loads(text)
            with self._news:
                self._found.setdefault(job, Mark(at_ns / 1e9, ticks * TICK_S - offset_s))
                self._news.notify_all()


@contextmanager
def marks(folder: Path) -> Iterator[tuple[Marks, dict[str, str]]]:
    """Marks, and the environment by which no-ops find them."""
    path = folder / "marks"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        yield Marks(channel), {MARKS: str(path)}
        channel.shutdown(socket.SHUT_RD)  # ends the thread


@contextmanager
def marked_pool(slots: int) -> Iterator[tuple[Pool, Marks, dict[str, str]]]:
    """A pool of no-ops with so many slots, their marks, and the environment by which other no-ops find them."""
    with (
        tempfile.TemporaryDirectory(prefix="muster-bench-") as name,
        marks(Path(name)) as (told, environment),
        noop_pool(slots, Path(name), environment) as pool,
    ):
        yield pool, told, environment
