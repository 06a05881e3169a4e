"""Classes whose jobs find no room: why they wait, and which of them need much at once.

Both are asked of every worker, so not more often than people look, and in turns where there are many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import islice

from app.coordinator.fleet import Fleet
from app.coordinator.placement.reasons import why_waiting_in
from app.ledger import waiting
from app.ledger.db import Ledger
from app.ledger.waiting import WaitingClass, WaitingJob, Wish
from app.pool.capacity import could_give_mb, need
from app.pool.matching import least_of_class, vram_bucket
from app.pool.model import JobId, Requirement

AGAIN_S = 1.0
TURN_S = 0.05  # for one step; who is due longest comes first
REST = 10.0  # so many times as long as it took no one is asked again: reasons of many classes take a tenth of the time
LOOK_AT = 16  # workers
TOLD = 16  # of the jobs of a class that wait for a reason of their own


class Parked:
    """What was found out of each parked class, and when. A new leader asks anew."""

    def __init__(self, ledger: Ledger, fleet: Fleet, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._now = now
        self._asked: dict[str, float] = {}
        self._rests_until = 0.0  # those that were asked before are not asked again
        self.large: set[str] = set()  # whose jobs take more of a worker than a slot
        self._most: dict[str, Wish] = {}  # of classes with jobs that no card could hold: the least of what they want
        self._too_large: dict[str, dict[JobId, str]] = {}  # these jobs, and why they wait

    def step(self, classes: Mapping[str, WaitingClass], parked: Collection[str], because: Mapping[str, str]) -> None:
        """Note why the jobs of those classes wait that are parked: `because`, where that is known."""
        self._asked = {name: at for name, at in self._asked.items() if name in parked}
        # One that finds room now and then is as large as before.
        self.large &= classes.keys()
        self._most = {name: wish for name, wish in self._most.items() if name in classes}
        self._too_large = {name: jobs for name, jobs in self._too_large.items() if name in classes}
        began, whys = self._now(), {}
        for name in sorted(parked, key=lambda name: (self._asked.get(name, 0.0), name)):
            again = name in self._asked and began < max(self._asked[name] + AGAIN_S, self._rests_until)
            if again or self._now() > began + TURN_S:
                break
            each = classes[name]
            self._asked[name] = began
            why = because.get(name) or self._why(each.requirement)
            if why != each.why:
                whys[name] = why
            self._look(each)
            self._too_large[name] = self._beyond(each)
        waiting.note_classes(self._ledger, whys)
        spent_s = self._now() - began
        self._rests_until = max(self._rests_until, began + REST * spent_s)

    def too_large(self) -> list[Wish]:
        """What no card could hold."""
        return list(self._most.values())

    def is_too_large(self, waiting: WaitingJob) -> bool:
        """Whether no card could hold this job."""
        most = self._most.get(waiting.class_name)
        return most is not None and most.is_within(waiting.wish)

    def own(self) -> dict[JobId, str]:
        """Why jobs of these classes wait that wait for another reason than the rest of them."""
        return {job: why for some in self._too_large.values() for job, why in some.items()}

    def _look(self, parked: WaitingClass) -> None:
        least = least_of_class(parked.requirement)
        wants = [need(worker, least) for worker in islice(self._fleet.healthy_fitting(least), LOOK_AT)]
        if any(each.slots > 1 or each.cards or each.least_mb for each in wants):
            self.large.add(parked.name)

    def _beyond(self, parked: WaitingClass) -> dict[JobId, str]:
        """Jobs of one class differ in their memory: a worker may be large enough for some of them alone."""
        least = least_of_class(parked.requirement)
        largest = replace(least, min_vram_mb=vram_bucket(least.min_vram_mb))
        self._most.pop(parked.name, None)
        if largest == least or self._fleet.anybody_fits(largest):
            return {}
        policy, cards = self._fleet.policy, least.gpus or 1
        most = (could_give_mb(worker, None, policy, cards) for worker in self._fleet.fitting(least))
        most_mb = max(most, default=None)
        if most_mb is None:
            return {}  # of the whole class
        beyond = waiting.larger(self._ledger, parked.name, most_mb, TOLD)
        if beyond:
            self._most[parked.name] = Wish(parked.name, most_mb + 1)
        return {job: why_waiting_in(self._fleet, replace(least, min_vram_mb=mb)) for job, mb in beyond.items()}

    def _why(self, requirement: Requirement) -> str:
        """What is true of all its jobs; where nobody fits the least of them, in the figures of the first."""
        least = least_of_class(requirement)
        asked = least if self._fleet.anybody_fits(least) else replace(requirement, exclude_workers=())
        return why_waiting_in(self._fleet, asked)
