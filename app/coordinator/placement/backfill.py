"""Workers that are kept free for jobs that need much of one at once: else small jobs would nibble at it for ever.

The first job of a class that finds room nowhere, though some worker could hold it if that were empty, has
one kept for it: whoever comes after it in the order is not placed there. In the leader's memory only; the
next one chooses anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.ledger.waiting import WaitingClass, WaitingJob
from app.pool.capacity import Need, Room, capacity_refusal, emptied, need, room
from app.pool.matching import least_of_class, refusal
from app.pool.model import JobId, Requirement, Worker, WorkerId
from app.pool.status import FREE_SLOT

MOST_KEPT = 8
LOOK_AT = 16  # of the workers that could hold it, those that run the least
LONGEST_S = 0.05  # of looking, each time; those who come first come first here too


@dataclass(frozen=True)
class Keep:
    """A worker that is kept for a job."""

    job: JobId
    class_name: str
    worker: WorkerId
    spare: int  # its free slots beyond those that the job needs: for jobs that take no card


class Kept:
    """Which worker is kept for which job."""

    def __init__(self, stores: Stores, fleet: Fleet, now: Callable[[], float]) -> None:
        self._live = stores.live
        self._fleet = fleet
        self._now = now
        self._of: dict[JobId, Keep] = {}
        self._spared: Counter[WorkerId] = Counter()  # slots that others were let have since it was chosen

    def choose(self, first: Iterable[WaitingJob]) -> None:
        """Keep a worker for each of these jobs, first first, where that helps; for no others."""
        before, self._of = self._of, {}
        self._spared.clear()
        until = self._now() + LONGEST_S
        for waiting in first:
            if len(self._of) == MOST_KEPT:
                return
            known = before.get(waiting.job.id)
            if self._now() <= until:
                keep = self._keep(waiting, known)
            else:  # as it was, for those that there is no time for
                keep = known if known and known.worker in self._fleet.workers else None
            if keep:
                self._of[waiting.job.id] = keep

    def of(self, job: JobId) -> Keep | None:
        """What is kept for this job."""
        return self._of.get(job)

    def from_next(self, keeps: Iterable[Keep], requirement: Requirement) -> list[WorkerId]:
        """Those of these workers that the next job, with this requirement, may not be given."""
        wants = {keep: need(self._fleet.workers[keep.worker], requirement) for keep in keeps}
        kept = [keep for keep, its in wants.items() if not self._spares(keep, its)]
        self._spared.update({keep.worker: its.slots for keep, its in wants.items() if keep not in kept})
        return [keep.worker for keep in kept]

    def workers(self) -> frozenset[WorkerId]:
        """All that are kept."""
        return frozenset(keep.worker for keep in self._of.values())

    def why(self, classes: Iterable[WaitingClass]) -> dict[str, str]:
        """Why those of these classes found no room that could run on a worker which is kept from them."""
        found = {each.name: self._kept_from(each) for each in classes} if self._of else {}
        return {
            name: f"{FREE_SLOT}: {kept[1].name} is kept for job {kept[0]}, which comes first and needs more"
            for name, kept in found.items()
            if kept
        }

    def _kept_from(self, waiting: WaitingClass) -> tuple[JobId, Worker] | None:
        requirement = least_of_class(waiting.requirement)
        for keep in self._of.values():
            if keep.class_name == waiting.name:
                continue  # the job itself would be told that it is kept from it
            worker = self._fleet.workers[keep.worker]
            if not self._spares(keep, need(worker, requirement)) and refusal(worker, requirement) is None:
                return keep.job, worker
        return None

    def _spares(self, keep: Keep, wants: Need) -> bool:
        left = keep.spare - self._spared[keep.worker]
        return not (wants.cards or wants.least_mb) and wants.slots <= left

    def _keep(self, waiting: WaitingJob, before: Keep | None) -> Keep | None:
        taken, requirement, known = self.workers(), waiting.job.spec.requirement, before and before.worker
        avoided, above_mb = self._fleet.wishes_of(requirement, waiting.failed_on, waiting.above_mb)
        some = self._fleet.healthy_fitting(requirement, (*avoided, *taken), above_mb)
        fitting = {worker.id: worker for worker in some}
        # The one that is kept comes first while it is still worth it: on another the wait would begin anew.
        by_use = sorted(fitting, key=lambda id_: (id_ != known, len(self._fleet.beats[id_].attempts), id_))[:LOOK_AT]
        leases = self._live.leases_of(by_use)
        could = []
        for id_ in by_use:
            worker = fitting[id_]
            now = room(worker, self._fleet.beats[id_], leases[id_], self._fleet.policy)
            wants = need(worker, requirement, above_mb)
            if _nibbled(now, wants) and capacity_refusal(emptied(now), wants) is None:
                could.append((id_ != known, now.held, id_, now.slots - now.held - wants.slots))
        if not could:
            return None
        *_, chosen, spare = min(could)
        return Keep(waiting.job.id, waiting.class_name, chosen, spare)


def _nibbled(now: Room, wants: Need) -> bool:
    """Whether small jobs could take of the worker what this one waits for.

    It has no room for this one, but a slot for theirs or a place behind one; or this one needs several slots, which
    small ones take one by one as they become free.
    """
    return capacity_refusal(now, wants) is not None and (wants.slots > 1 or now.held < now.capacity)
