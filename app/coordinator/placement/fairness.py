"""The order of waiting jobs: priority, then owners take turns, then age. Pure.

A queue that was given nothing for some time counts as one priority higher for each STEP_S, so that none starves.
Within a priority the owner who holds the fewest slots comes first, so one person's ten thousand jobs keep nobody
waiting. Only the first jobs of each queue are read, so the order is known as far as no unread job can come before.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from app.ledger.waiting import WaitingJob
from app.pool.model import JobId

STEP_S = 300.0


class Queue(NamedTuple):
    """What one owner has waiting in one class at one priority."""

    class_name: str
    priority: int
    owner: str


class Ranking(NamedTuple):
    """Jobs in their order: those that certainly come next, and those before which an unread job may come."""

    certain: list[WaitingJob]
    uncertain: list[WaitingJob]


def queue_of(job: WaitingJob) -> Queue:
    """The queue in which this job waits."""
    return Queue(job.class_name, job.priority, job.owner)


def last_read(heads: Iterable[WaitingJob], read_each: int) -> set[JobId]:
    """The last job of each queue that was read to this limit: unread ones may follow it."""
    return {members[-1].id for members in _by_queue(heads).values() if len(members) == read_each}


def in_order(
    heads: Iterable[WaitingJob],
    held: Mapping[str, int],
    slots_of: Callable[[WaitingJob], int],
    unserved_s: Callable[[Queue], float],
    last: Collection[JobId] = (),
) -> Ranking:
    """Put jobs in their order.

    held: slots in use, by owner. slots_of: how many slots a job takes. unserved_s: for how many seconds a queue was
    given nothing. last: jobs behind which unread ones may follow in their queue.
    """
    tiers: dict[int, dict[str, list[WaitingJob]]] = {}
    for queue, members in _by_queue(heads).items():
        waited_s = min(members[0].age_s, unserved_s(queue))
        owners = tiers.setdefault(queue.priority + int(waited_s // STEP_S), {})
        owners.setdefault(queue.owner, []).extend(members)
    given, ranking = Counter(held), Ranking([], [])
    reached = ranking.certain
    for tier in sorted(tiers, reverse=True):
        for job in _in_turns(tiers[tier], given, slots_of, last):
            if job is None:
                reached = ranking.uncertain
            else:
                reached.append(job)
    return ranking


def _by_queue(heads: Iterable[WaitingJob]) -> dict[Queue, list[WaitingJob]]:
    """The jobs of each queue, oldest first."""
    queues: dict[Queue, list[WaitingJob]] = {}
    for job in sorted(heads, key=_age):
        queues.setdefault(queue_of(job), []).append(job)
    return queues


def _in_turns(
    owners: Mapping[str, list[WaitingJob]],
    given: Counter[str],
    slots_of: Callable[[WaitingJob], int],
    last: Collection[JobId],
) -> Iterator[WaitingJob | None]:
    """Jobs of one priority as their owners' turns come; None where it may be the turn of an unread job.

    Of one owner's jobs those that were read come first: else each of many classes would cost another look.
    """
    left = {owner: deque(sorted(members, key=_age)) for owner, members in owners.items()}
    turns = [(given[owner], *_age(members[0]), owner) for owner, members in left.items()]
    heapq.heapify(turns)
    has_unread: set[str] = set()
    while turns:
        *_, owner = heapq.heappop(turns)
        if not left[owner]:
            yield None
            continue
        job = left[owner].popleft()
        yield job
        given[owner] += slots_of(job)
        if job.id in last:
            has_unread.add(owner)
        if left[owner] or owner in has_unread:
            next_age = _age(left[owner][0] if left[owner] else job)
            heapq.heappush(turns, (given[owner], *next_age, owner))


def _age(job: WaitingJob) -> tuple[datetime, JobId]:
    return job.created_at, job.id
