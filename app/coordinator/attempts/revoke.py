"""Failover: give a worker's attempts back to the pool.

The ledger moves first and raises the attempt's number in the same statement, so whatever the worker still
sends of the old attempt is refused; then lease and envelope follow. Dying between the two costs nothing:
reconcile finds a lease without an attempt. Callers apply reports before they take anything,
so that a result which has arrived is never thrown away.
Every call raises Unavailable before anything has changed, or RedisError when the ledger has moved, and may be
repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Batch, Leases
from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.ledger import deaths, events, jobs, open_attempts, reports
from app.ledger.db import Ledger
from app.ledger.open_attempts import OpenAttempt, Taken
from app.pool.duration import lost_work
from app.pool.faults import point
from app.pool.model import JobId, JobState, WorkerId
from app.pool.protocol import Cause, Report, Revocation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Certainty:
    """What is certain of the attempts of a worker that is down."""

    dead: bool = False  # its processes are gone, by proof: nothing runs on there
    silenced: bool = False  # by its silence strict attempts have ended: their deadlines have passed
    leaving: bool = False  # it had said that it leaves: its end says nothing against what ran there


class Failover:
    """Takes attempts back, which have not started, or away, which run."""

    def __init__(self, stores: Stores, fleet: Fleet, leases: Leases, envelopes: Envelopes) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._leases = leases
        self._envelopes = envelopes

    def take_back_all(self, worker: WorkerId, cause: str, leave: bool = False) -> None:
        """Make what has not started there pending again; with `leave` its envelopes stay, to be refused."""
        self._take(lambda tx: open_attempts.take_back_all(tx, worker, cause), cause, leave=leave)

    def take_away_all(self, worker: WorkerId, cause: str) -> None:
        """Take all from a worker without processes: strict jobs too, and what nobody else could run."""
        self._take(
            lambda tx: [
                *open_attempts.take_back_all(tx, worker, cause),
                *open_attempts.take_away_all(tx, worker, cause, spare_strict=False),
            ],
            cause,
            gone=True,
        )

    def take_from_down(self, attempts: Iterable[OpenAttempt], cause: str, certainty: Certainty) -> None:
        """Take these attempts from a worker that is down.

        Strict ones that may still run are only revoked. What no healthy worker could run stays, unless its worker is
        dead by proof.
        """
        for attempt in attempts:
            if attempt.strict and attempt.state is not JobState.ASSIGNED and not certainty.silenced:
                self._revoke(attempt, Revocation.TAKEN)
            elif attempt.state is not JobState.RUNNING:
                self.take(attempt, cause)
            elif certainty.dead or self._another_can(attempt):
                died = not certainty.leaving
                self._take(partial(_one, attempt=attempt, cause=cause, spare_strict=False, died=died), cause)

    def take(self, attempt: OpenAttempt, cause: str) -> None:
        """Take an attempt that its worker may still have. A strict one that runs is only revoked."""
        if self._over(attempt):
            return
        taken = self._take(lambda tx: _one(tx, attempt, cause, spare_strict=True), cause)
        if not taken and attempt.strict:
            self._revoke(attempt, Revocation.TAKEN)

    def take_back(self, attempt: OpenAttempt, cause: str) -> list[Taken]:
        """Take back an attempt that has not started; returns nothing where a claim came first."""
        return self._take(lambda tx: _taken(open_attempts.take_back(tx, attempt.job, attempt.attempt, cause)), cause)

    def take_gone(self, attempt: OpenAttempt, cause: str, died: bool = False) -> list[Taken]:
        """Take an attempt that has no process left: its worker need not be told, and its slot is free."""
        if self._over(attempt):
            return []
        return self._take(partial(_one, attempt=attempt, cause=cause, spare_strict=False, died=died), cause, gone=True)

    def overdue(self, attempt: OpenAttempt) -> None:
        """Fail an attempt as its worker should have reported it long ago.

        A strict one is only revoked: it is over when its end is known.
        """
        if not attempt.strict:
            error = f"it ran beyond its {attempt.timeout_s} s, and its worker did not end it"
            end = Report(
                "end",
                attempt.worker,
                attempt.incarnation,
                attempt.job,
                attempt.attempt,
                end="failed",
                cause=Cause.TIMEOUT,
            )
            reports.apply_all(self._ledger, [replace(end, error=error)])
            log.warning("overdue: worker=%s job=%s attempt=%d", attempt.worker, attempt.job, attempt.attempt)
        self._revoke(attempt, Revocation.TAKEN)

    def withdraw(self, worker: WorkerId, job: JobId, attempt: int) -> None:
        """Take back lease and envelope of an attempt that the ledger no longer holds."""
        batch = self._leases.batch()
        self._withdraw(batch, worker, job, attempt)
        batch.send()

    def cancelled(self, attempt: OpenAttempt, grace_s: float) -> None:
        """End an attempt whose job was cancelled: it is asked to stop, and killed after the grace."""
        self._revoke(attempt, Revocation.CANCEL, grace_s)

    def _revoke(self, attempt: OpenAttempt, why: Revocation, grace_s: float = 0.0) -> None:
        batch = self._leases.batch()
        batch.revoked(attempt.worker, attempt.job, attempt.attempt, why, grace_s)
        batch.send()

    def _another_can(self, attempt: OpenAttempt) -> bool:
        job = jobs.find(self._ledger, attempt.job)
        if job is None:
            return False
        # Where no other has a larger card it would take what there is.
        requirement = replace(job.spec.requirement, above_vram_mb=None)
        return self._fleet.healthy_fits(requirement, frozenset({attempt.worker}))

    def _over(self, attempt: OpenAttempt) -> bool:
        """True for a cancelled attempt, which is closed here: it is over, not taken."""
        if attempt.state is JobState.CANCELLED:
            open_attempts.end_cancelled(self._ledger, attempt.worker, attempt.job, attempt.attempt)
        return attempt.state is JobState.CANCELLED

    def _take(
        self, take: Callable[[Ledger], list[Taken]], cause: str, gone: bool = False, leave: bool = False
    ) -> list[Taken]:
        """Take, and tell people, in one transaction; then lease and envelope follow."""
        with self._ledger.transaction() as tx:
            taken = take(tx)
            for each in taken:
                self._tell(tx, each, cause)
            deaths.follow(tx, [each.job for each in taken if each.died], self._fleet.policy.poison_deaths)
        point("failover.taken")
        batch = self._leases.batch()
        for each in taken:
            self._drop(batch, each, gone, leave)
            log.warning(
                "%s: worker=%s job=%s attempt=%d cause=%s", _verb(each), each.worker, each.job, each.attempt, cause
            )
        batch.send()
        return taken

    def _drop(self, batch: Batch, taken: Taken, gone: bool, leave: bool) -> None:
        if taken.was is JobState.RUNNING and not gone:
            batch.revoked(taken.worker, taken.job, taken.attempt, Revocation.TAKEN)
            return
        # Popped meanwhile: its claim finds the job moved on and is answered with a revoked lease.
        self._withdraw(batch, taken.worker, taken.job, taken.attempt, leave)

    def _withdraw(self, batch: Batch, worker: WorkerId, job: JobId, attempt: int, leave: bool = False) -> None:
        batch.released(worker, job, attempt)
        if not leave:
            self._envelopes.remove(worker, job, attempt)

    def _tell(self, tx: Ledger, taken: Taken, cause: str) -> None:
        """Record an event; the owner is told when the job has started anew (news.moved)."""
        if taken.was is not JobState.RUNNING:
            return
        worker = self._fleet.workers.get(taken.worker)
        name = worker.name if worker else taken.worker
        lost = lost_work(taken.lost_s)
        repeated = f"; {lost} are repeated" if lost else ""
        sentence = f"{taken.name or taken.workflow} moves on from {name} ({cause}){repeated}"
        events.record(tx, "job.moved", sentence, worker=taken.worker, job=taken.job)


def _one(tx: Ledger, attempt: OpenAttempt, cause: str, *, spare_strict: bool, died: bool = False) -> list[Taken]:
    taken = open_attempts.take_back(tx, attempt.job, attempt.attempt, cause)
    return _taken(taken or open_attempts.take_away(tx, attempt.job, attempt.attempt, cause, spare_strict, died))


def _taken(found: Taken | None) -> list[Taken]:
    return [found] if found else []


def _verb(taken: Taken) -> str:
    return "taken away" if taken.was is JobState.RUNNING else "taken back"
