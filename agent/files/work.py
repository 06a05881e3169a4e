"""Work on many files: in a few threads where that is quicker, with a look at the clock and the guard in between.

Only the caller's thread ticks. What the tick raises stops the threads at their next chunk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from app.pool.status import size

Item = TypeVar("Item")
Done = TypeVar("Done")
Ticker = Callable[[str], None]  # told what is being done, in words

TICK_S = 0.25
THREADS = 4  # SHA-256 of one file takes a core; more than a few disturb what else runs here
MANY = 64  # items from which threads pay
LARGE_BYTES = 64 << 20
_MOST_AT_ONCE = 64  # items of one thread's turn


class Abandoned(Exception):
    """Raised in the threads when their work is no longer wanted."""


class FileWork:
    """One step of saving: what it is called, and how much of it is done."""

    def __init__(self, doing: str, files: int, total_bytes: int, tick: Ticker) -> None:
        self._doing, self._files, self._bytes, self._tick = doing, files, total_bytes, tick
        self._files_done = self._bytes_done = 0
        self._due = time.monotonic() + TICK_S
        self._threaded = self._abandoned = False

    def passed(self, count: int) -> None:
        """Note that so many bytes are done; called in any thread. Raises Abandoned, or what the tick raises."""
        self._bytes_done += count  # no lock: a count that is lost shows for a moment only
        if self._abandoned:
            raise Abandoned
        if not self._threaded and time.monotonic() >= self._due:
            self._look()

    def each(self, do: Callable[[Item], Done], items: Sequence[Item]) -> list[Done]:
        """What `do` returns for each item, in their order. Raises the first error of any, and what the tick raises."""
        if len(items) < 2 or (len(items) < MANY and self._bytes < LARGE_BYTES):
            return self._turn(do, items)
        size = max(1, min(_MOST_AT_ONCE, len(items) // (8 * THREADS)))
        turns = [items[at : at + size] for at in range(0, len(items), size)]
        with self._threads(THREADS) as threads:
            found = self._awaited([threads.submit(self._turn, do, turn) for turn in turns])
        return [done for turn in found for done in turn]

    def aside(self, do: Callable[[], Done]) -> Done:
        """What one call returns that may block for long. Raises its error, and what the tick raises."""
        with self._threads(1) as threads:
            return self._awaited([threads.submit(do)])[0]

    @contextmanager
    def _threads(self, count: int) -> Iterator[ThreadPoolExecutor]:
        self._threaded = True
        threads = ThreadPoolExecutor(count, "saving")
        try:
            yield threads
        except BaseException:
            self._abandoned = True
            raise
        finally:
            # Not waited for: one may hang in the kernel, and nobody wants it any more.
            threads.shutdown(wait=False, cancel_futures=True)

    def _awaited(self, futures: list[Future[Done]]) -> list[Done]:
        while wait(futures, TICK_S).not_done:
            self._look()
        return [future.result() for future in futures]

    def _turn(self, do: Callable[[Item], Done], items: Sequence[Item]) -> list[Done]:
        done = []
        for item in items:
            done.append(do(item))
            self._files_done += 1
            self.passed(0)
        return done

    def _look(self) -> None:
        self._due = time.monotonic() + TICK_S
        self._tick(self._words())

    def _words(self) -> str:
        words = f"{self._doing} {min(self._files_done, self._files):,} of {self._files:,}"
        if self._bytes < LARGE_BYTES:
            return words
        return f"{words} ({size(self._bytes_done)} of {size(self._bytes)})"
