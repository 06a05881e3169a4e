"""Failover: give a worker's attempts back to the pool.

The ledger moves first and raises the attempt in the same statement, so whatever the worker still
sends of the old one is refused; then lease and envelope follow. Dying between the two costs
nothing: reconcile finds a lease without an attempt. Reports are applied before anything is taken,
so a result that has arrived is never thrown away: that is the callers' duty.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from app.coordinator.envelopes import Envelopes
from app.coordinator.fleet import Fleet
from app.coordinator.leases import CANCEL, Batch, Leases
from app.coordinator.stores import Stores
from app.ledger import events, jobs
from app.ledger.db import Ledger
from app.ledger.jobs import HeldAttempt, Taken
from app.pool.faults import point
from app.pool.model import JobState, WorkerId

log = logging.getLogger(__name__)

TAKEN = "taken away"


class Failover:
    """Takes attempts back (not started) or away (running)."""

    def __init__(self, stores: Stores, fleet: Fleet, leases: Leases, envelopes: Envelopes) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._leases = leases
        self._envelopes = envelopes

    def take_back_all(self, worker: WorkerId, cause: str) -> None:
        """What has not started on this worker is pending again."""
        self._take(lambda tx: jobs.take_back_all(tx, worker, cause), cause)

    def take_away_all(self, worker: WorkerId, cause: str) -> None:
        """All of a worker whose processes are known to be gone: also strict jobs, and what nobody else could run."""
        self._take(
            lambda tx: [
                *jobs.take_back_all(tx, worker, cause),
                *jobs.take_away_all(tx, worker, cause, spare_strict=False),
            ],
            cause,
            gone=True,
        )

    def take_from_down(self, held: Iterable[HeldAttempt], cause: str) -> None:
        """Of a worker that is down by silence: everything but what no healthy worker could run.

        (n + 1) i of silence have passed, so a strict attempt's deadline has too.
        """
        for attempt in held:
            if attempt.state is not JobState.RUNNING:
                self.take(attempt, cause)
            elif self._another_can(attempt):
                self._take(partial(_one, held=attempt, cause=cause, spare_strict=False), cause)

    def take(self, held: HeldAttempt, cause: str) -> None:
        """One attempt that its worker may still have. A strict one that runs is only revoked."""
        if self._over(held):
            return
        taken = self._take(lambda tx: _one(tx, held, cause, spare_strict=True), cause)
        if not taken and held.strict:
            self._revoke(held, TAKEN)

    def take_gone(self, held: HeldAttempt, cause: str) -> None:
        """One attempt of which no process is left: nobody has to be told, its slot is free."""
        if not self._over(held):
            self._take(lambda tx: _one(tx, held, cause, spare_strict=False), cause, gone=True)

    def cancelled(self, held: HeldAttempt, grace_s: float) -> None:
        """Its job was cancelled: what runs is asked to stop, and killed after the grace."""
        self._revoke(held, CANCEL, grace_s)

    def _revoke(self, held: HeldAttempt, why: str, grace_s: float = 0.0) -> None:
        batch = self._leases.batch()
        batch.revoked(held.worker, held.job, held.attempt, why, grace_s)
        batch.send()

    def _another_can(self, held: HeldAttempt) -> bool:
        job = jobs.find(self._ledger, held.job)
        return job is not None and self._fleet.healthy_fits(job.spec.requirement, frozenset({held.worker}))

    def _over(self, held: HeldAttempt) -> bool:
        """A cancelled attempt is not taken, it is over."""
        if held.state is JobState.CANCELLED:
            jobs.end_cancelled(self._ledger, held.worker, held.job, held.attempt)
        return held.state is JobState.CANCELLED

    def _take(self, take: Callable[[Ledger], list[Taken]], cause: str, gone: bool = False) -> list[Taken]:
        """Take in one transaction with what people are told of it; then lease and envelope follow."""
        with self._ledger.transaction() as tx:
            taken = take(tx)
            for each in taken:
                self._tell(tx, each, cause)
        point("failover.taken")
        batch = self._leases.batch()
        for each in taken:
            self._drop(batch, each, gone)
            log.warning(
                "%s: worker=%s job=%s attempt=%d cause=%s", _verb(each), each.worker, each.job, each.attempt, cause
            )
        batch.send()
        return taken

    def _drop(self, batch: Batch, taken: Taken, gone: bool) -> None:
        if taken.was is JobState.RUNNING and not gone:
            batch.revoked(taken.worker, taken.job, taken.attempt, TAKEN)
            return
        # Popped meanwhile: its claim finds the job moved on and is answered with a revoked lease.
        batch.released(taken.worker, taken.job, taken.attempt)
        self._envelopes.remove(taken.worker, taken.job, taken.attempt)

    def _tell(self, tx: Ledger, taken: Taken, cause: str) -> None:
        if taken.was is not JobState.RUNNING:
            return
        worker = self._fleet.workers.get(taken.worker)
        name = worker.name if worker else taken.worker
        lost = f"; {taken.lost_s:.0f} s of work are repeated" if taken.lost_s else ""
        sentence = f"{taken.name or taken.workflow} moves on from {name} ({cause}){lost}"
        events.record(tx, "job.moved", sentence, worker=taken.worker, job=taken.job)
        events.tell(
            tx,
            taken.owner,
            "job.moved",
            sentence,
            about=f"{taken.job}:{taken.attempt}",
            job=taken.job,
            worker=taken.worker,
            facts={"cause": cause, "lost_s": taken.lost_s, "attempt": taken.attempt},
        )


def _one(tx: Ledger, held: HeldAttempt, cause: str, *, spare_strict: bool) -> list[Taken]:
    taken = jobs.take_back(tx, held.job, held.attempt, cause)
    taken = taken or jobs.take_away(tx, held.job, held.attempt, cause, spare_strict)
    return [taken] if taken else []


def _verb(taken: Taken) -> str:
    return "taken away" if taken.was is JobState.RUNNING else "taken back"
