"""Classes whose jobs find no room: why they wait, and which of them need much of a worker at once.

Both are asked of every worker, so not more often than people look, and in turns where there are many classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import islice

from app.coordinator.fleet import Fleet
from app.coordinator.placement.budget import LOOK_S, Budget
from app.coordinator.placement.reasons import why_waiting
from app.ledger import waiting
from app.ledger.db import Ledger
from app.ledger.waiting import WaitingClass
from app.pool.capacity import need
from app.pool.model import WaitingReason

AGAIN_S = 1.0  # after it, a class is asked about again
REST = 10.0  # then nobody is asked about again for this many times as long as asking took: a tenth of the time
LOOK_AT = 16  # workers


class UnschedulableClasses:
    """What was found out of each class without room, and when. A new leader asks anew."""

    def __init__(self, ledger: Ledger, fleet: Fleet, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._now = now
        self._asked: dict[str, float] = {}  # when, by class
        self._noted: dict[str, WaitingReason] = {}
        self._rests_until = 0.0
        self.large: set[str] = set()  # names of classes whose jobs take more of a worker than a slot

    def step(
        self, classes: Mapping[str, WaitingClass], waiting_now: set[str], known: Mapping[str, WaitingReason]
    ) -> None:
        """Note why the jobs of those classes wait that found no room.

        classes: all with due jobs, as they stand now. waiting_now: the names of those without room.
        known: why some of these wait, where that is known already. Raises Unavailable, and may be repeated.
        """
        self._asked = {name: at for name, at in self._asked.items() if name in waiting_now}
        self._noted = {name: reason for name, reason in self._noted.items() if name in classes}
        self.large &= classes.keys()  # a class that finds room now and then stays as large as it was
        budget, reasons = Budget(self._now, LOOK_S), dict[str, WaitingReason]()
        for name in sorted(waiting_now, key=lambda name: (self._asked.get(name, 0.0), name)):
            if self._is_asked_too_soon(name, budget.began) or budget.is_spent:
                break
            self._asked[name] = budget.began
            reason = known.get(name) or self._why(classes[name])
            if reason != self._noted.get(name):
                reasons[name] = reason
            if self._is_large(classes[name]):
                self.large.add(name)
        waiting.note_classes(self._ledger, reasons)
        self._noted |= reasons
        self._rests_until = max(self._rests_until, budget.began + REST * budget.used_s)

    def _is_asked_too_soon(self, name: str, now: float) -> bool:
        return name in self._asked and now < max(self._asked[name] + AGAIN_S, self._rests_until)

    def _why(self, demand: WaitingClass) -> WaitingReason:
        fleet = self._fleet
        return why_waiting(demand.requirement, fleet.groups, fleet.workers.values(), fleet.policy, demand.failed_on)

    def _is_large(self, demand: WaitingClass) -> bool:
        fitting = islice(self._fleet.healthy_fitting(demand.requirement), LOOK_AT)
        needs = [need(worker, demand.requirement) for worker in fitting]
        return any(each.slots > 1 or each.cards or each.least_mb for each in needs)
