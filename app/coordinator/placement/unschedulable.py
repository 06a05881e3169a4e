"""Classes whose jobs find no room: why they wait, and which of them need much of a worker at once.

Both are asked of every worker, so not more often than people look, and in turns where there are many classes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

from app.coordinator.budget import LOOK_S, Budget
from app.coordinator.fleet import Fleet
from app.ledger import waiting
from app.ledger.db import Ledger
from app.ledger.waiting import WaitingClass
from app.pool.capacity import Need, held_by_others, need, unfit
from app.pool.matching import NOBODY_JOINED, RefusedBy, nobody_offers
from app.pool.model import Health, Requirement, WaitingFor, WaitingReason, Worker, WorkerId
from app.pool.policy import Policy
from app.pool.protocol import Beat
from app.pool.status import FREE_SLOT, STANDING, WorkerStatus, listed, worker_status

NAMED = 3  # workers in one sentence
AGAIN_S = 1.0  # between two looks at one class
REST = 10.0  # a round is followed by a rest ten times as long as it took
LOOK_AT = 16  # workers


class UnschedulableClasses:
    """What was found out of each class without room, and when. A new leader asks anew."""

    def __init__(self, ledger: Ledger, fleet: Fleet, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._now = now
        self._asked: dict[str, float] = {}  # when, by class
        self._rests_until = 0.0
        self.large: set[str] = set()  # names of classes whose jobs take more of a worker than a slot

    def step(
        self, classes: Mapping[str, WaitingClass], waiting_now: set[str], known: Mapping[str, WaitingReason]
    ) -> None:
        """Note why the jobs of those classes wait that found no room.

        classes: those with due jobs. waiting_now: the names of those without room. known: why some of these wait.
        Raises Unavailable, and may be repeated.
        """
        self._asked = {name: at for name, at in self._asked.items() if name in waiting_now}
        self.large &= classes.keys()  # a class that finds room now and then stays as large as it was
        budget, reasons = Budget(self._now, LOOK_S), dict[str, WaitingReason]()
        for name in sorted(waiting_now, key=lambda name: (self._asked.get(name, 0.0), name)):
            if self._is_asked_too_soon(name, budget.began) or budget.is_spent:
                break
            self._asked[name] = budget.began
            reasons[name] = known.get(name) or self._why(classes[name])
            if self._is_large(classes[name]):
                self.large.add(name)
        waiting.note_classes(self._ledger, reasons)  # also what was noted before: a row may have gone meanwhile
        self._rests_until = max(self._rests_until, budget.began + REST * budget.used_s)

    def _is_asked_too_soon(self, name: str, now: float) -> bool:
        return name in self._asked and now < max(self._asked[name] + AGAIN_S, self._rests_until)

    def _why(self, demand: WaitingClass) -> WaitingReason:
        fleet = self._fleet
        workers, avoided = fleet.workers.values(), demand.failed_on
        return why_waiting(demand.requirement, fleet.groups, workers, fleet.policy, avoided, fleet.beats)

    def _is_large(self, demand: WaitingClass) -> bool:
        fitting = islice(self._fleet.healthy_fitting(demand.requirement), LOOK_AT)
        needs = [need(worker, demand.requirement) for worker in fitting]
        return any(each.slots > 1 or each.cards or each.least_mb for each in needs)


def why_waiting(
    requirement: Requirement,
    groups: Collection[str],
    workers: Iterable[Worker],
    policy: Policy,
    avoided: Collection[WorkerId] = (),
    beats: Mapping[WorkerId, Beat] | None = None,
) -> WaitingReason:
    """Why a job that avoids some workers, of all these, was given none.

    groups: the names of those that there are. beats: by which it is told where others are in the way.
    """
    if requirement.group is not None and requirement.group not in groups:
        gone = f"its group {requirement.group} was deleted; it waits until there is one of this name again"
        return WaitingReason(WaitingFor.WORKER, gone)
    everyone = list(workers)
    if not everyone:
        return WaitingReason(WaitingFor.WORKER, NOBODY_JOINED)
    refusals = [(worker, unfit(worker, requirement, policy)) for worker in everyone]
    fitting = [worker for worker, refusal in refusals if refusal is None]
    if fitting:
        open_to_it = [worker for worker in fitting if worker.id not in avoided] or fitting
        return _busy(open_to_it, requirement, policy, beats or {})
    if all(refusal is not None and refusal.filter is RefusedBy.WORKFLOW for _, refusal in refusals):
        return nobody_offers(requirement.workflow)
    counts = Counter(refusal.clause for _, refusal in refusals if refusal is not None)
    said = (f"{count} {clause.of(count)}" for clause, count in sorted(counts.items(), key=lambda each: each[0].of(1)))
    return WaitingReason(WaitingFor.WORKER, f"no worker fits: {'; '.join(said)}")


def _busy(
    fitting: Sequence[Worker], requirement: Requirement, policy: Policy, beats: Mapping[WorkerId, Beat]
) -> WaitingReason:
    statuses = {worker.id: worker_status(worker) for worker in fitting}
    ready = [worker for worker in fitting if statuses[worker.id] is WorkerStatus.HEALTHY]
    if ready:
        needs = need(ready[0], requirement)
        why = _others_or_ours(ready, requirement, policy, beats)
        return WaitingReason(WaitingFor.SLOT, f"{FREE_SLOT}{_and_what(needs, requirement)}: {why}")
    if all(worker.health is Health.LEFT for worker in fitting):
        return WaitingReason(WaitingFor.WORKER, _left(fitting))
    standing = [f"{worker.name} {STANDING[statuses[worker.id]].of(1)}" for worker in fitting]
    words = f"no worker that could run it takes jobs now: {listed(standing, NAMED, '; ')}"
    return WaitingReason(WaitingFor.WORKER, words)


def _others_or_ours(
    ready: Sequence[Worker], requirement: Requirement, policy: Policy, beats: Mapping[WorkerId, Beat]
) -> str:
    """Who is in the way on these workers, others or our own jobs, as far as workers are named."""
    named = [worker for worker in ready[:NAMED] if worker.id in beats]
    held = {w.id: held_by_others(w, beats[w.id], need(w, requirement), policy) for w in named}
    said = [f"on {worker.name} {held[worker.id]}" for worker in named if held[worker.id]]
    if busy := [worker for worker in ready if not held.get(worker.id)]:
        said.append(f"{_names(busy)} {'full' if need(busy[0], requirement) == Need() else 'busy'}")
    return "; ".join(said)


def _and_what(needs: Need, requirement: Requirement) -> str:
    """What a job waits for beside a slot."""
    at_once = f" ({needs.slots} at once)" if needs.slots > 1 else ""
    if requirement.above_vram_mb is not None:
        return f"{at_once} on a card with more than {requirement.above_vram_mb} MiB free"
    if not needs.cards:
        return f"{at_once} on a card with enough memory free" if needs.least_mb else at_once
    cards = "a GPU" if needs.cards == 1 else f"{needs.cards} GPUs"
    return f"{at_once} and {cards} of its own" + (" with enough memory free" if needs.least_mb else "")


def _left(fitting: Sequence[Worker]) -> str:
    if len(fitting) > 1:
        return f"every worker that could run it said good-bye: {listed([w.name for w in fitting], NAMED)}"
    worker = fitting[0]
    at = f" at {worker.last_heartbeat:%H:%M} UTC" if worker.last_heartbeat else ""
    return f"its worker {worker.name} said good-bye{at}; no other can run it"


def _names(workers: Sequence[Worker]) -> str:
    return f"{listed([w.name for w in workers], NAMED)} {'is' if len(workers) == 1 else 'are'}"
