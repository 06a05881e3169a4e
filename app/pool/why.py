"""Why a job waits: which filter turned which worker away. Pure.

By the filters that fill the eligible sets (matching.py) and the room that placement looks for (capacity.py).
What only the leader knows is in the sentence that it notes: a worker that it keeps for a larger job. That a
worker has just said its newest beat is not true any more nobody notes; it is over with the next beat.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from app.pool.capacity import capacity_refusal, could_give_mb, need, room, takes, unfit
from app.pool.matching import Refusal
from app.pool.model import Health, JobId, Requirement, Worker, WorkerId
from app.pool.policy import Policy
from app.pool.protocol import Beat, Lease, LeaseState
from app.pool.status import STANDING, pause_words, worker_status


@dataclass(frozen=True)
class Asked:
    """What one job wants, beside what its class does."""

    job: JobId
    requirement: Requirement
    failed_on: frozenset[WorkerId] = frozenset()  # avoided while another worker can run it
    above_mb: int = 0  # wanted free on a card, where any has more


@dataclass(frozen=True)
class Seen:
    """What is live of a worker: the beat of its present incarnation, and its leases."""

    beat: Beat | None
    leases: Mapping[JobId, Lease]


def heeded(
    failed_on: frozenset[WorkerId], above_mb: int, anybody: Callable[[Collection[WorkerId], int], bool]
) -> tuple[frozenset[WorkerId], int]:
    """Of what its failures make a job wish, what somebody can do: another worker, a card with more than so much free.

    anybody: whether a worker other than these, on such a card, could run it and takes jobs.
    """
    above_mb = above_mb if above_mb and anybody((), above_mb) else 0
    return failed_on if failed_on and anybody(failed_on, above_mb) else frozenset(), above_mb


def by_setup(worker: Worker, requirement: Requirement, policy: Policy) -> Refusal | None:
    """Why this worker is given no such job, as it is set up and as it stands; None when its room decides."""
    return unfit(worker, requirement, policy) or _standing(worker)


def by_room(
    fitting: Collection[Worker], seen: Mapping[WorkerId, Seen], asked: Asked, policy: Policy
) -> dict[WorkerId, Refusal | None]:
    """The same of workers whose beats and leases are known; None for one that could take it now."""
    now = [_as_it_beats(worker, seen[worker.id].beat) for worker in fitting]
    could_give = {worker.id: could_give_mb(worker, seen[worker.id].beat, policy) for worker in now}
    able = {
        worker.id
        for worker in now
        if takes(worker, seen[worker.id].beat) and by_setup(worker, asked.requirement, policy) is None
    }

    def anybody(without: Collection[WorkerId], above_mb: int) -> bool:
        return any(not above_mb or could_give[id_] > above_mb for id_ in able.difference(without))

    failed_on, above_mb = heeded(asked.failed_on, asked.above_mb, anybody)
    asked = replace(asked, failed_on=failed_on, above_mb=above_mb)
    return {worker.id: _verdict(worker, seen[worker.id], asked, policy, could_give[worker.id]) for worker in now}


def _verdict(worker: Worker, seen: Seen, asked: Asked, policy: Policy, could_give_mb: int) -> Refusal | None:
    refused = by_setup(worker, asked.requirement, policy)
    if refused:
        return refused
    if worker.id in asked.failed_on:
        return Refusal("failed", "failed this job before")
    older = seen.leases.get(asked.job)
    if older is not None and older.state is not LeaseState.ENDED:
        return Refusal("older attempt", "may still have an older attempt of it")
    if seen.beat is None or not takes(worker, seen.beat):
        return Refusal("heartbeat", "has no heartbeat at the moment, or says good-bye")
    if asked.above_mb and could_give_mb <= asked.above_mb:
        return Refusal("vram", f"has {could_give_mb} MiB to give on one GPU; the job ran out of {asked.above_mb}")
    has = room(worker, seen.beat, seen.leases, policy)
    return capacity_refusal(has, need(worker, asked.requirement, asked.above_mb))


def _as_it_beats(worker: Worker, beat: Beat | None) -> Worker:
    return worker if beat is None else replace(worker, dynamic_tags=beat.tags)


def _standing(worker: Worker) -> Refusal | None:
    status = worker_status(worker)
    if status == Health.HEALTHY:
        return None
    reason = pause_words(worker) or worker.reason
    return Refusal(status, STANDING[status][0] + (f" ({reason})" if reason else ""))


@dataclass(frozen=True)
class Turned:
    """How many workers a filter turned away, and the first of them with their reasons."""

    filter: str
    workers: int
    first: tuple[tuple[Worker, str], ...]


def by_filter(refused: Iterable[tuple[Worker, Refusal]], named: int) -> list[Turned]:
    """Those that turned away most come first; so many workers of each are named."""
    found: dict[str, list[tuple[Worker, str]]] = {}
    for worker, why in refused:
        found.setdefault(why.filter, []).append((worker, why.why))
    turned = [Turned(name, len(some), tuple(some[:named])) for name, some in found.items()]
    return sorted(turned, key=lambda each: (-each.workers, each.filter))
