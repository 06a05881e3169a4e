"""What workers report, carried into the ledger; the lease is the answer.

A batch is applied in one transaction, then the leases are marked, then the entries are deleted. At
least once: dying anywhere between means that the batch is applied again, which changes nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.coordinator.attempts.gpu_oom import shortages
from app.coordinator.attempts.leases import Batch, Leases
from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.ledger import reports
from app.ledger.reports import Applied
from app.pool.codec import from_json
from app.pool.faults import point
from app.pool.live import portions
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Report, Revocation

log = logging.getLogger(__name__)

STREAMS_A_READ = 500
ENTRIES_A_STREAM = 100


@dataclass(frozen=True)
class StreamEntry:
    """A report and its place in its worker's stream."""

    worker: WorkerId
    id: str
    report: Report | None  # None: it cannot be understood


@dataclass(frozen=True)
class Outcome:
    """What came of the reports that were applied."""

    freed: bool = False  # a slot may be free, or a job pending
    barred: bool = False  # a worker may no longer take what the fleet in memory says
    refused: bool = False  # a lease was revoked and is to go soon

    def __or__(self, other: Outcome) -> Outcome:
        freed, barred = self.freed or other.freed, self.barred or other.barred
        return Outcome(freed, barred, self.refused or other.refused)


class Reports:
    """Reads the streams of workers, to the end, and remembers what came of it until that is taken."""

    def __init__(self, stores: Stores, fleet: Fleet, leases: Leases) -> None:
        self._stores = stores
        self._fleet = fleet
        self._ledger = stores.ledger
        self._redis = stores.redis
        self._keys = stores.keys
        self._leases = leases
        self._outcome = Outcome()

    def apply(self, workers: Iterable[WorkerId], hear: Callable[[Report], object]) -> None:
        """Apply all that these workers have reported; `hear` then receives each report.

        Raises RedisError, Unavailable, and what `hear` raises. Call it again then: what was applied and not yet
        deleted is applied and heard once more, which changes nothing.
        """
        for portion in portions(sorted(workers), STREAMS_A_READ):
            full = True
            while full and (entries := self._read(portion)):
                self._apply(entries, hear)
                full = max(Counter(entry.worker for entry in entries).values()) >= ENTRIES_A_STREAM

    def take(self) -> Outcome:
        """What came of all reports that were applied since the last call, by whomever."""
        outcome, self._outcome = self._outcome, Outcome()
        return outcome

    def _read(self, workers: Sequence[WorkerId]) -> list[StreamEntry]:
        streams = {self._keys.out(worker): worker for worker in workers}
        found = self._redis.xread(dict.fromkeys(streams, "0"), count=ENTRIES_A_STREAM)
        pairs = found.items() if isinstance(found, dict) else found  # RESP3 answers with a map
        return [_entry(streams[key], id_, fields) for key, entries in pairs for id_, fields in _flat(entries)]

    def _apply(self, entries: list[StreamEntry], hear: Callable[[Report], object]) -> None:
        good = [entry.report for entry in entries if entry.report is not None]
        of_jobs = [report for report in good if report.job is not None]
        outcomes = reports.apply_all(self._ledger, of_jobs, shortages(self._stores, self._fleet, of_jobs))
        self._outcome |= _outcome(outcomes, others=len(good) - len(outcomes))
        point("reports.applied")
        batch = self._leases.batch()
        for report, applied in outcomes:
            _answer(batch, report, applied)
        batch.send()
        point("reports.answered")
        for report in good:
            hear(report)
        self._delete(entries)

    def _delete(self, entries: list[StreamEntry]) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for worker in {entry.worker for entry in entries}:
                pipe.xdel(self._keys.out(worker), *[entry.id for entry in entries if entry.worker == worker])
            pipe.execute()


def _outcome(outcomes: Sequence[tuple[Report, Applied]], others: int) -> Outcome:
    """`others`: how many good-byes there were, which give jobs back, and reports that could not be stored."""
    return Outcome(
        freed=others > 0 or any(_frees(report, applied) for report, applied in outcomes),
        barred=any(applied is Applied.WORKER_BARRED for _, applied in outcomes),
        refused=any(applied is Applied.REFUSED for _, applied in outcomes),
    )


def _answer(batch: Batch, report: Report, applied: Applied) -> None:
    job = JobId(report.job or "")
    if applied in (Applied.CLAIMED, Applied.REPEATED):
        batch.claimed(report.worker, job, report.attempt, report.nonce)
    elif _frees(report, applied):
        batch.ended(report.worker, job, report.attempt)  # accepted or not: no process of it is left
    elif applied is Applied.REFUSED:
        batch.revoked(report.worker, job, report.attempt, Revocation.REFUSED)
    elif applied is Applied.DOUBLED:
        batch.ring(report.worker)  # its lease, claimed by another nonce, is the answer
    if applied not in (Applied.STORED, Applied.REPEATED, Applied.IGNORED):
        log.info(
            "report: %s %s worker=%s job=%s attempt=%d",
            report.end or report.kind,
            applied.value,
            report.worker,
            job,
            report.attempt,
        )


def _frees(report: Report, applied: Applied) -> bool:
    """True for an end, accepted or not: no process of the attempt is left."""
    return applied in (Applied.ENDED, Applied.WORKER_BARRED) or (applied is Applied.REFUSED and report.kind == "end")


def _entry(worker: WorkerId, id_: str, fields: dict[str, str]) -> StreamEntry:
    """The entry; one that cannot be understood, or speaks for another worker, is named in the log."""
    try:
        report = from_json(Report, fields["report"])
        if report.worker != worker or (report.job is None and report.kind != "goodbye"):
            raise ValueError("it does not speak for its worker")
    except (ValueError, KeyError) as error:
        log.warning("report dropped: worker=%s entry=%s: %s", worker, id_, error)
        return StreamEntry(worker, id_, None)
    return StreamEntry(worker, id_, report)


def _flat(entries: Any) -> Any:
    """redis-py wraps a stream's entries once more when it speaks RESP3."""
    return entries[0] if entries and isinstance(entries[0], list) else entries
