"""Classes whose jobs find no room: why they wait, and which of them need much at once.

Both are asked of every worker, so not more often than people look, and in turns where there are many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from app.coordinator.fleet import Fleet
from app.coordinator.waiting import why_waiting, without_group
from app.ledger import waiting
from app.ledger.db import Ledger
from app.ledger.waiting import WaitingClass
from app.pool.capacity import need
from app.pool.model import Requirement

AGAIN_S = 1.0
TURN_S = 0.05  # for one step; who is due longest comes first
LOOK_AT = 16  # workers


class Parked:
    """What was found out of each parked class, and when. A new leader asks anew."""

    def __init__(self, ledger: Ledger, fleet: Fleet, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._now = now
        self._asked: dict[str, float] = {}
        self.large: set[str] = set()  # whose jobs take more of a worker than a slot

    def step(self, parked: Sequence[WaitingClass], because: Mapping[str, str]) -> None:
        """Note why the jobs of these classes wait: `because`, where that is known."""
        names = {each.name for each in parked}
        self._asked = {name: at for name, at in self._asked.items() if name in names}
        self.large &= names
        began, whys = self._now(), {}
        for each in sorted(parked, key=lambda one: self._asked.get(one.name, 0.0)):
            if began < self._asked.get(each.name, -AGAIN_S) + AGAIN_S or self._now() > began + TURN_S:
                break
            self._asked[each.name] = began
            why = because.get(each.name) or self._why(each.requirement)
            if why != each.why:
                whys[each.name] = why
            self._look(each)
        waiting.note_classes(self._ledger, whys)

    def _look(self, parked: WaitingClass) -> None:
        some = islice(self._fleet.healthy_fitting(parked.requirement), LOOK_AT)
        wants = [need(worker, parked.requirement) for worker in some]
        if any(each.slots > 1 or each.cards or each.least_mb for each in wants):
            self.large.add(parked.name)

    def _why(self, requirement: Requirement) -> str:
        of_class = replace(requirement, exclude_workers=())
        return without_group(of_class, self._fleet.groups) or why_waiting(of_class, self._fleet.workers.values())
