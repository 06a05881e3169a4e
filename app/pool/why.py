"""Why a job waits: which filter turned which worker away. Pure.

By the filters that fill the eligible sets (matching.py) and the room that placement looks for (capacity.py).
What only the leader knows, that it keeps a worker for a larger job, is in the reason that it notes. One thing is noted
nowhere: a worker that has just called its own beat outdated. The next beat settles it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from app.pool.capacity import capacity_refusal, could_give_mb, has_card_above, need, room, takes, unfit
from app.pool.matching import Refusal, RefusedBy
from app.pool.model import Job, JobId, Requirement, Worker, WorkerId
from app.pool.policy import Policy
from app.pool.protocol import Beat, Lease, LeaseState
from app.pool.status import Clause, WorkerStatus, pause_words, worker_status


@dataclass(frozen=True)
class Seen:
    """What is live of a worker: the beat of its present incarnation, and its leases."""

    beat: Beat | None
    leases: Mapping[JobId, Lease]


def soft_constraints(
    requirement: Requirement,
    failed_on: frozenset[WorkerId],
    anybody: Callable[[Requirement, Collection[WorkerId]], bool],
) -> tuple[Requirement, frozenset[WorkerId]]:
    """What a job demands, and which workers it avoids, once its failures are taken into account.

    Where no worker has a larger card than the one whose memory ran out, it takes what there is; where all others have
    failed it, or there are none, it goes back to where it failed.
    anybody: whether a worker other than these could run such a job and takes jobs.
    """
    if requirement.above_vram_mb is not None and not anybody(requirement, ()):
        requirement = replace(requirement, above_vram_mb=None)
    return requirement, failed_on if failed_on and anybody(requirement, failed_on) else frozenset()


def by_setup(worker: Worker, requirement: Requirement, policy: Policy) -> Refusal | None:
    """Why this worker is given no such job, as it is set up and as it stands; None when its room decides."""
    return unfit(worker, requirement, policy) or _standing(worker)


def by_room(
    fitting: Collection[Worker], seen: Mapping[WorkerId, Seen], job: Job, policy: Policy
) -> dict[WorkerId, Refusal | None]:
    """Why each of these workers, whose beats and leases are known, is not given the job; None where it could be."""
    beating = {worker.id: _as_it_beats(worker, seen[worker.id].beat) for worker in fitting}

    def anybody(requirement: Requirement, without: Collection[WorkerId]) -> bool:
        return any(
            _could_run(beating[id_], seen[id_].beat, requirement, policy) for id_ in beating.keys() - set(without)
        )

    requirement, avoided = soft_constraints(job.spec.requirement, job.failed_on, anybody)
    return {id_: _verdict(worker, seen[id_], job.id, requirement, avoided, policy) for id_, worker in beating.items()}


def _could_run(worker: Worker, beat: Beat | None, requirement: Requirement, policy: Policy) -> bool:
    able = takes(worker, beat) and by_setup(worker, requirement, policy) is None
    return able and has_card_above(worker, beat, requirement, policy)


def _verdict(
    worker: Worker,
    seen: Seen,
    job: JobId,
    requirement: Requirement,
    avoided: Collection[WorkerId],
    policy: Policy,
) -> Refusal | None:
    refused = by_setup(worker, requirement, policy)
    if refused:
        return refused
    if worker.id in avoided:
        return Refusal(RefusedBy.FAILED, RefusedBy.FAILED.general)
    older = seen.leases.get(job)
    if older is not None and older.state is not LeaseState.ENDED:
        return Refusal(RefusedBy.OLDER_ATTEMPT, Clause("may", "still have an older attempt of it"))
    if seen.beat is None or not takes(worker, seen.beat):
        return Refusal(RefusedBy.HEARTBEAT, Clause("has", "no heartbeat at the moment, or says good-bye"))
    if not has_card_above(worker, seen.beat, requirement, policy):
        most_mb, above_mb = could_give_mb(worker, seen.beat, policy), requirement.above_vram_mb
        return Refusal(
            RefusedBy.VRAM, Clause("has", f"{most_mb} MiB to give on one GPU; the job ran out of {above_mb}")
        )
    has = room(worker, seen.beat, seen.leases, policy)
    return capacity_refusal(has, need(worker, requirement))


def _as_it_beats(worker: Worker, beat: Beat | None) -> Worker:
    return worker if beat is None else replace(worker, dynamic_tags=beat.tags)


def _standing(worker: Worker) -> Refusal | None:
    status = worker_status(worker)
    if status is WorkerStatus.HEALTHY:
        return None
    reason, turned_by = pause_words(worker) or worker.reason, RefusedBy[status.name]
    standing = turned_by.general
    return Refusal(turned_by, Clause(standing.verb, f"{standing.rest} ({reason})") if reason else standing)


@dataclass(frozen=True)
class Turned:
    """How many workers a filter turned away, and the first of them with their reasons."""

    filter: RefusedBy
    workers: int
    first: tuple[tuple[Worker, str], ...]


def by_filter(refused: Iterable[tuple[Worker, Refusal]], named: int) -> list[Turned]:
    """The refusals by filter, the filter that turned most workers away first; so many workers of each are named."""
    found: dict[RefusedBy, list[tuple[Worker, str]]] = {}
    for worker, why in refused:
        found.setdefault(why.filter, []).append((worker, why.why))
    turned = [Turned(name, len(some), tuple(some[:named])) for name, some in found.items()]
    return sorted(turned, key=lambda each: (-each.workers, each.filter))
