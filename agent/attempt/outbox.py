"""The outbox: carries reports to the coordinator, and keeps of each attempt what it may have to say again.

At least once: whatever is kept is sent again after a reconnect, on a new generation of Redis and once an interval.
Every report may therefore be applied twice, and repeating one is harmless. A report is kept until `forget`, when the
attempt's lease says that it has ended or is revoked: only the coordinator can know that it has been applied.

Main's thread puts reports in and the outbox's own thread sends them. While a batch is on its way new reports gather
behind it. When sending fails nobody knows what Redis has taken, so all that is kept goes out again; what its attempt
has been forgotten for meanwhile is put back by itself, since no repetition would bring it.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import redis

from app.pool.backoff import Outage
from app.pool.codec import to_json
from app.pool.loop import Bell
from app.pool.model import JobId
from app.pool.protocol import Report
from app.pool.text import storable_text

log = logging.getLogger(__name__)

MOST_WAITING = 1_000  # entries of the stream that nobody has read
ORDER = ("claim", "checkpoint", "progress", "end", "goodbye")
ONCE = ("checkpoint", "end")  # go out even for a forgotten attempt: when it was taken away they are put on record
FIELD = "report"
LOOK_S = 0.05  # how often a leaving agent asks whether all has been read: no event says so
IDLE_S = 60.0

JobAttempt = tuple[JobId | None, int]


@dataclass
class AttemptReports:
    """The reports of one attempt that may have to be repeated; of progress and checkpoints only the newest."""

    newest: dict[str, Report] = field(default_factory=dict)

    def keep(self, report: Report) -> None:
        """Add a report, in the place of an older one of its kind."""
        self.newest[report.kind] = report

    def repeats(self) -> list[Report]:
        """The reports in an order in which they can be applied: the claim first, the end last."""
        return [self.newest[kind] for kind in ORDER if kind in self.newest]


class Outbox:
    """One worker's outbox: `put` takes reports from main's thread, `run` sends them from a thread of its own."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._lock = threading.Lock()
        self._kept: dict[JobAttempt, AttemptReports] = {}
        self._unsent: list[Report] = []
        self._again = False  # send again all that is kept
        self._back = False  # Redis answers again: a pause is over
        self._waiting = 0  # entries that nobody had read when we last looked
        self._leaving = False
        self._settled = threading.Event()
        self._away = Outage(log, "outbox: reports wait, Redis does not take them", "outbox: reports get through again")
        self.bell = Bell()

    def put(self, report: Report) -> None:
        """Keep a report and send it soon."""
        with self._lock:
            self._settled.clear()
            self._kept.setdefault((report.job, report.attempt), AttemptReports()).keep(report)
            self._unsent.append(report)
            if len(self._unsent) > MOST_WAITING:
                self._unsent = [report for report in self._unsent if report.kind != "progress"]
                self._again = True
        self.bell.ring()

    def forget(self, job: JobId, attempt: int) -> None:
        """Drop what is kept of an attempt; a checkpoint or end that was not sent yet goes out once."""
        with self._lock:
            reports = self._kept.pop((job, attempt), None)
            if reports and self._again:
                self._unsent += [report for report in reports.repeats() if report.kind in ONCE]

    def send_again(self) -> None:
        """Repeat all that is kept, since what was sent may be lost; Redis can be reached again."""
        with self._lock:
            self._again = self._back = True
        self.bell.ring()

    def repeat(self) -> None:
        """Repeat all that is kept behind what is new, in case it was lost."""
        with self._lock:
            self._unsent += self._repeats()
        self.bell.ring()

    def leave(self, seconds: float) -> bool:
        """Wait until everything was sent and read. False when that took longer than `seconds`."""
        self._leaving = True
        self.bell.ring()
        return self._settled.wait(seconds)

    def run(self) -> None:
        """Send what comes until the bell is stopped."""
        while self.bell.wait(self._pause_s()):
            self._back = False  # before the try: a connection that is made meanwhile is worth another at once
            try:
                self.step()
            except redis.RedisError as error:
                # Not rung awake by new reports: they wait as the old ones do.
                self.pause(self._away.failed(error))

    def step(self) -> None:
        """Send what is to be sent. Raises redis.RedisError, and may then be repeated: the next call sends it all."""
        batch, full = self._batch()
        if not batch and not self._leaving:
            self._away.over()  # what could not be sent was forgotten meanwhile
            return
        try:
            self._waiting = self._send(batch, full)
        except redis.RedisError:
            self._put_back(batch)
            raise
        self._reached()

    def _batch(self) -> tuple[list[Report], bool]:
        with self._lock:
            full = self._waiting + len(self._unsent) > MOST_WAITING
            batch = self._unsent
            if self._again or full:
                batch = self._repeats() + self._not_kept()
            self._unsent, self._again = [], False
        return batch, full

    def _repeats(self) -> list[Report]:
        return [report for attempt in self._kept.values() for report in attempt.repeats()]

    def _not_kept(self) -> list[Report]:
        return [report for report in self._unsent if (report.job, report.attempt) not in self._kept]

    def _send(self, batch: list[Report], full: bool) -> int:
        """The length of the stream afterwards. A full one is replaced by what is kept, in one MULTI."""
        with self._client.pipeline(transaction=full) as pipe:
            if full:
                pipe.xtrim(self._key, maxlen=0, approximate=False)
            for report in batch:
                # Half of a surrogate pair is no reason to fall silent.
                pipe.xadd(self._key, {FIELD: storable_text(to_json(report))})
            pipe.xlen(self._key)
            answers: list[Any] = pipe.execute()
        return int(answers[-1])

    def _put_back(self, batch: list[Report]) -> None:
        """Have all that is kept sent the next time: nobody knows what of the batch was written."""
        with self._lock:
            forgotten = [report for report in batch if (report.job, report.attempt) not in self._kept]
            settled = [report for report in forgotten if report.kind in ONCE]
            self._unsent = settled + self._unsent
            self._again = True

    def _reached(self) -> None:
        self._away.over()
        with self._lock:
            if not self._waiting and not self._unsent and not self._again:
                self._settled.set()

    def pause(self, seconds: float) -> None:
        """Wait for `seconds`, unless the bell is stopped or main's bell listener has reached Redis."""
        end = time.monotonic() + seconds
        while not self._back and (left := end - time.monotonic()) > 0 and self.bell.wait(left):
            pass

    def _pause_s(self) -> float:
        if self._away.failures:
            return 0.0
        return LOOK_S if self._leaving and not self._settled.is_set() else IDLE_S
