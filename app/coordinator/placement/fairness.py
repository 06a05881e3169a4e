"""The order of waiting jobs: priority, then owners take turns, then age. Pure.

A queue (an owner's jobs of one class and priority) that has got nothing for so long counts as one priority
higher for each STEP_S, so that none starves. Within a priority the owner who holds the fewest slots comes
first, so one person's ten thousand jobs keep nobody waiting.
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


class Ordered(NamedTuple):
    """Jobs, first first; so many of them come before any other that waits."""

    jobs: list[WaitingJob]
    sure: int


def queue_of(waiting: WaitingJob) -> Queue:
    """The queue that it waits in."""
    return Queue(waiting.class_name, waiting.job.spec.priority, waiting.job.spec.owner)


def ends(heads: Iterable[WaitingJob], each: int) -> set[JobId]:
    """Of heads that were read, so many of each queue, those behind which their queue may go on."""
    return {members[-1].job.id for members in _by_queue(heads).values() if len(members) == each}


def in_order(
    heads: Iterable[WaitingJob],
    held: Mapping[str, int],
    slots_of: Callable[[str], int],
    unserved_s: Callable[[Queue], float],
    ends: Collection[JobId] = (),
) -> Ordered:
    """These jobs in their order.

    held: slots in use by owner. slots_of: how many a job of a workflow takes. unserved_s: how long a queue has got
    nothing. ends: the last that is known of queues that may go on.
    """
    tiers: dict[int, dict[str, list[WaitingJob]]] = {}
    for queue, members in _by_queue(heads).items():
        waited_s = min(members[0].age_s, unserved_s(queue))
        owners = tiers.setdefault(queue.priority + int(waited_s // STEP_S), {})
        owners.setdefault(queue.owner, []).extend(members)
    given, found, sure = Counter(held), list[WaitingJob](), -1
    for rank in sorted(tiers, reverse=True):
        for turn in _in_turns(tiers[rank], given, slots_of, ends):
            if turn is not None:
                found.append(turn)
            elif sure < 0:
                sure = len(found)
    return Ordered(found, len(found) if sure < 0 else sure)


def _by_queue(heads: Iterable[WaitingJob]) -> dict[Queue, list[WaitingJob]]:
    """Of each queue its jobs, oldest first."""
    queues: dict[Queue, list[WaitingJob]] = {}
    for head in sorted(heads, key=_age):
        queues.setdefault(queue_of(head), []).append(head)
    return queues


def _in_turns(
    owners: Mapping[str, list[WaitingJob]],
    given: Counter[str],
    slots_of: Callable[[str], int],
    ends: Collection[JobId],
) -> Iterator[WaitingJob | None]:
    """None where it may be the turn of a job that is not among these.

    Of one owner what is among them comes first: else each class of many would be waited for.
    """
    left = {owner: deque(sorted(members, key=_age)) for owner, members in owners.items()}
    turns = [(given[owner], *_age(members[0]), owner) for owner, members in left.items()]
    heapq.heapify(turns)
    unknown: set[str] = set()
    while turns:
        *_, owner = heapq.heappop(turns)
        if not left[owner]:
            yield None
            continue
        head = left[owner].popleft()
        yield head
        given[owner] += slots_of(head.job.spec.requirement.workflow)
        if head.job.id in ends:
            unknown.add(owner)
        if left[owner] or owner in unknown:
            after = left[owner][0] if left[owner] else head
            heapq.heappush(turns, (given[owner], *_age(after), owner))


def _age(waiting: WaitingJob) -> tuple[datetime, JobId]:
    return waiting.job.created_at, waiting.job.id
