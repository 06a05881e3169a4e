"""What a workflow writes to its standard output and error, as its guard hears it: a sign of life, and its log.

Bytes are a sign whether or not they end a line. Reading never waits, and takes no more at a time than a pipe holds, so
that no workflow can keep its guard from its clocks. What is heard goes to the spooler's thread, and is not read while
that has too much to do.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from agent.attempt.log_watch import LogWatch
from agent.attempt.workflow_process import OutputPipe
from agent.ipc.link import Link
from agent.log.attempt_log import AttemptLog
from agent.log.spool import attempt_folder
from agent.log.spooler import Spooler
from app.pool.codec import plain
from app.pool.log.portion import Stream
from app.pool.loop import Bell
from app.pool.model import MIB, FailWhen
from app.pool.protocol import Order

log = logging.getLogger(__name__)

REST_READS = 16  # of pipes that nobody writes to any more, but for what cannot be killed
CLOSE_S, FORSAKEN_S = 5.0, 0.5  # for the rest of the log to be written; and when main is gone
LOOK_S = 0.2


class Output:
    """One attempt's output; `pipes` are set once its process is there."""

    def __init__(self, order: Order, folder: str, main: Link, fail_when: Iterable[FailWhen]) -> None:
        self._order, self._main = order, main
        self._spooler = Spooler(attempt_folder(Path(folder), order.job, order.attempt))
        self.pipes: Mapping[Stream, OutputPipe] = {}
        self.watch = LogWatch([each.log for each in fail_when], self._remark)
        self.log = AttemptLog(self._spooler.take, self.watch.feed)

    def sources(self) -> list[Bell | OutputPipe]:
        """What to wait on: the spooler's bell, and pipes that may be read; one at its end is always readable."""
        room = self._spooler.room
        return [self._spooler.bell, *(pipe for pipe in self.pipes.values() if room and not pipe.gone)]

    def hear(self) -> bool:
        """Read what is there, unless too much waits, and tell main of portions. True for a sign of life."""
        self._tell()
        sign = self._read() if self._spooler.room else True  # the workflow waits for us, and cannot give one
        self.log.show_unfinished()
        return sign

    @property
    def too_large(self) -> str | None:
        """What is wrong when the log has grown beyond what its job may write; else None."""
        most_mib = self._order.log_limit_mib
        if most_mib is None or self.log.bytes <= most_mib * MIB:
            return None
        return f"its log grew beyond {most_mib} MiB, the most that an attempt may write: have it say less, or to a file"

    def finish(self) -> None:
        """Read what was written before all of it died; last words count without a line end."""
        for _ in range(REST_READS):
            if not self._read():
                break
        self.log.finish()

    def close(self) -> None:
        """Have the rest of the log written. That takes a moment, or CLOSE_S when the disk hangs."""
        self._spooler.close()
        end = time.monotonic() + (FORSAKEN_S if self._main.gone else CLOSE_S)
        while not self._spooler.ended and time.monotonic() < end:
            select.select([self._spooler.bell], [], [], LOOK_S)
            self._tell()
            self._main.send({"m": "looking"})
        self._tell()
        if not self._spooler.ended:
            log.warning("log: its end is lost: job=%s attempt=%d", self._order.job, self._order.attempt)

    def _remark(self, words: str) -> None:
        self.log.remark(words)

    def _read(self) -> bool:
        """Take what the pipes hold, of each what it can hold once. True when there was anything."""
        chunks = {stream: pipe.read() for stream, pipe in self.pipes.items() if not pipe.gone}
        for stream, chunk in chunks.items():
            if chunk:
                self.log.hear(stream, chunk)
        return any(chunks.values())

    def _tell(self) -> None:
        for head, size in self._spooler.written():
            self._main.send({"m": "portion", "head": plain(head), "size": size})
