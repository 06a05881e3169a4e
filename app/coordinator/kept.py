"""Workers that are kept free for jobs that need much of one at once: else small jobs would nibble at it for ever.

The first job of a class that finds room nowhere, though some worker could hold it if that were empty, has
one kept for it: whoever comes after it in the order is not placed there. In the leader's memory only; the
next one chooses anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.ledger.waiting import WaitingJob
from app.pool.capacity import Need, Room, capacity_refusal, need, room
from app.pool.model import JobId, Worker, WorkerId
from app.pool.status import FREE_SLOT

MOST_KEPT = 8
LOOK_AT = 16  # of the workers that could hold it, those that run the least


class Kept:
    """Which worker is kept for which job."""

    def __init__(self, stores: Stores, fleet: Fleet) -> None:
        self._live = stores.live
        self._fleet = fleet
        self._of: dict[JobId, WorkerId] = {}

    def choose(self, first: Iterable[WaitingJob]) -> None:
        """Keep a worker for each of these jobs, first first, where that helps; for no others."""
        before, self._of = self._of, {}
        for waiting in first:
            if len(self._of) == MOST_KEPT:
                return
            worker = self._worker(waiting, before.get(waiting.job.id))
            if worker:
                self._of[waiting.job.id] = worker

    def of(self, job: JobId) -> frozenset[WorkerId]:
        """The worker that is kept for this job, if any."""
        return frozenset({self._of[job]} if job in self._of else ())

    def workers(self) -> frozenset[WorkerId]:
        """All that are kept."""
        return frozenset(self._of.values())

    def why(self, classes: Iterable[str]) -> dict[str, str]:
        """Why these classes found no room though there is some."""
        if not self._of:
            return {}
        job, worker = next(iter(self._of.items()))
        name = self._fleet.workers[worker].name
        return dict.fromkeys(classes, f"{FREE_SLOT}: {name} is kept for job {job}, which comes first and needs more")

    def _worker(self, waiting: WaitingJob, known: WorkerId | None) -> WorkerId | None:
        taken = self.workers()
        fitting = {worker.id: worker for worker in self._fitting(waiting) if worker.id not in taken}
        if known in fitting:
            return known
        least_busy = sorted(fitting, key=lambda id_: (len(self._fleet.beats[id_].attempts), id_))[:LOOK_AT]
        leases = self._live.leases_of(least_busy)
        could = []
        for id_ in least_busy:
            worker = fitting[id_]
            now = room(worker, self._fleet.beats[id_], leases[id_], self._fleet.policy)
            wants = self._need(worker, waiting)
            if _nibbled(now, wants) and capacity_refusal(_empty(now), wants) is None:
                could.append((now.held, id_))
        return min(could)[1] if could else None

    def _fitting(self, waiting: WaitingJob) -> Iterator[Worker]:
        avoided, above_mb = self._fleet.wishes_of(waiting)
        return self._fleet.healthy_fitting(waiting.job.spec.requirement, avoided, above_mb)

    def _need(self, worker: Worker, waiting: WaitingJob) -> Need:
        return need(worker, waiting.job.spec.requirement, self._fleet.wishes_of(waiting)[1])


def _nibbled(now: Room, wants: Need) -> bool:
    """Whether a job that takes one slot and no memory could be given to the worker, but not this one."""
    return capacity_refusal(now, wants) is not None and (wants.slots > 1 or now.held < now.slots)


def _empty(now: Room) -> Room:
    cards = tuple(replace(card, reserved_mb=0, held=False, whole=False) for card in now.cards)
    return replace(now, held=0, cards=cards)
