"""The order of waiting jobs: priority, then owners take turns, then age. Pure.

A queue (an owner's jobs at one priority) that has got nothing for so long counts as one priority higher
for each STEP_S, so that none starves. Within a priority the owner who holds the fewest slots comes first,
so one person's ten thousand jobs keep nobody waiting.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from app.ledger.waiting import WaitingJob
from app.pool.model import JobId

STEP_S = 300.0

QueueKey = tuple[int, str]  # priority and owner


def queue_of(waiting: WaitingJob) -> QueueKey:
    """Whose, and at what priority."""
    return waiting.job.spec.priority, waiting.job.spec.owner


def in_order(
    heads: Iterable[WaitingJob],
    held: Mapping[str, int],
    slots_of: Callable[[str], int],
    unserved_s: Callable[[QueueKey], float],
) -> list[WaitingJob]:
    """These jobs, first first.

    held: slots in use by owner. slots_of: how many a job of a workflow takes. unserved_s: how long a queue has got
    nothing.
    """
    queues: dict[QueueKey, list[WaitingJob]] = {}
    for head in sorted(heads, key=_age):
        queues.setdefault(queue_of(head), []).append(head)
    tiers: dict[int, dict[str, list[WaitingJob]]] = {}
    for key, members in queues.items():
        waited_s = min(members[0].age_s, unserved_s(key))
        owners = tiers.setdefault(key[0] + int(waited_s // STEP_S), {})
        owners.setdefault(key[1], []).extend(members)
    given = Counter(held)
    return [head for rank in sorted(tiers, reverse=True) for head in _in_turns(tiers[rank], given, slots_of)]


def _in_turns(
    owners: Mapping[str, list[WaitingJob]], given: Counter[str], slots_of: Callable[[str], int]
) -> Iterable[WaitingJob]:
    left = {owner: deque(sorted(members, key=_age)) for owner, members in owners.items()}
    turns = [(given[owner], *_age(members[0]), owner) for owner, members in left.items()]
    heapq.heapify(turns)
    while turns:
        *_, owner = heapq.heappop(turns)
        head = left[owner].popleft()
        yield head
        given[owner] += slots_of(head.job.spec.requirement.workflow)
        if left[owner]:
            heapq.heappush(turns, (given[owner], *_age(left[owner][0]), owner))


def _age(waiting: WaitingJob) -> tuple[datetime, JobId]:
    return waiting.job.created_at, waiting.job.id
