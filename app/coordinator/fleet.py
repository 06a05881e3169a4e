"""The fleet as the leader holds it in memory: workers and policy from the ledger, beats from Redis.

The copy may be a moment old: every decision that is made on it is compared again where it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from app.coordinator.stores import Stores
from app.ledger import groups, policy
from app.ledger.registry import workers
from app.pool.capacity import has_card_above, takes, unfit
from app.pool.matching import offered
from app.pool.model import Health, Requirement, Worker, WorkerId
from app.pool.policy import Policy
from app.pool.protocol import Beat
from app.pool.why import soft_constraints

LIVE = frozenset({Health.HEALTHY, Health.DEGRADED})


class Fleet:
    """Workers by id, and each one's newest beat of its present incarnation while Redis has it.

    Health gives it beats and verdicts by its methods; everybody else reads. For one thread.
    """

    def __init__(self, stores: Stores) -> None:
        self._ledger = stores.ledger
        self.workers: dict[WorkerId, Worker] = {}
        self.beats: dict[WorkerId, Beat] = {}
        self.policy = Policy()
        self.groups: frozenset[str] = frozenset()
        self.strategies: dict[str, str] = {}  # by group, where a group has its own
        self._outdated: dict[WorkerId, tuple[int, int]] = {}  # (incarnation, seq) of a beat that is no longer true
        self._rows: workers.Rows = {}  # as the ledger had them
        self._slots: dict[str, int] = {}  # by workflow, as far as it was asked

    def reload(self) -> None:
        """Read the policy and the changed workers; what they report of themselves stays. Raises Unavailable."""
        self.policy = policy.read(self._ledger)
        self.groups = frozenset(groups.names(self._ledger))
        self.strategies = groups.strategies(self._ledger)
        former, self._rows = self._rows, workers.renewed(self._ledger, self._rows)
        changed = {worker for worker, row in self._rows.items() if row is not former.get(worker)}
        if changed:
            self._slots.clear()
        self.workers = {id_: row[1] if id_ in changed else self.workers[id_] for id_, row in self._rows.items()}
        for worker in changed | (self.beats.keys() - self.workers.keys()):
            beat = self.beats.pop(worker, None)
            if beat is not None:
                self.heard(beat)

    def heard(self, beat: Beat) -> bool:
        """Take note of a beat; False when it is not one of the worker's present incarnation, or it has left."""
        worker = self.workers.get(beat.worker)
        # The last beat of a worker that left stays in Redis for its TTL, with attempts that have ended.
        if worker is None or worker.incarnation != beat.incarnation or worker.health is Health.LEFT:
            return False
        self.beats[beat.worker] = beat
        newest = (beat.incarnation, beat.seq)
        if newest > self._outdated.get(beat.worker, newest):
            del self._outdated[beat.worker]
        if worker.dynamic_tags != beat.tags:
            self.workers[beat.worker] = replace(worker, dynamic_tags=beat.tags)
        return True

    def unheard(self, worker: WorkerId) -> None:
        """Forget the worker's beat: Redis has none of its present incarnation."""
        self.beats.pop(worker, None)

    def distrust(self, worker: WorkerId, incarnation: int, seq: int) -> None:
        """Give the worker nothing until its next beat: it has said itself that its newest is no longer true."""
        self._outdated[worker] = (incarnation, seq)

    @property
    def outdated(self) -> Collection[WorkerId]:
        """The workers whose newest beat is no longer true."""
        return self._outdated.keys()

    def set_health(self, worker: WorkerId, health: Health, reason: str | None, degraded_as: str | None) -> None:
        """Remember what was written to the ledger."""
        found = self.workers.get(worker)
        if found is not None:
            self.workers[worker] = replace(found, health=health, reason=reason, degraded_as=degraded_as)
            self._outdated.pop(worker, None)

    def is_live(self, worker: Worker) -> bool:
        """True for a worker that beats and is neither given up nor gone."""
        return worker.health in LIVE and worker.id in self.beats

    def schedulable(self) -> Iterator[Worker]:
        """Workers that may be given jobs, room permitting."""
        return (
            worker
            for worker in self.workers.values()
            if worker.id not in self._outdated and takes(worker, self.beats.get(worker.id))
        )

    def healthy_fitting(self, requirement: Requirement, without: Collection[WorkerId] = ()) -> Iterator[Worker]:
        """Workers other than these that could run such a job and may be given jobs, room permitting."""
        return (
            worker
            for worker in self.schedulable()
            if worker.id not in without
            and unfit(worker, requirement, self.policy) is None
            and has_card_above(worker, self.beats.get(worker.id), requirement, self.policy)
        )

    def soft_constraints(
        self, requirement: Requirement, failed_on: frozenset[WorkerId]
    ) -> tuple[Requirement, frozenset[WorkerId]]:
        """What a job demands, and which workers it avoids, once its failures are taken into account (why.py)."""
        return soft_constraints(requirement, failed_on, self.healthy_fits)

    def slots_of(self, workflow: str) -> int:
        """How many slots a job of this workflow takes, as one worker declares it; 1 where nobody offers it."""
        if workflow not in self._slots:
            offers = (offered(worker, workflow) for worker in self.workers.values())
            self._slots[workflow] = next((offer.slots for offer in offers if offer), 1)
        return self._slots[workflow]

    def healthy_fits(self, requirement: Requirement, without: Collection[WorkerId] = ()) -> bool:
        """True when `healthy_fitting` has a worker for such a job."""
        return next(self.healthy_fitting(requirement, without), None) is not None
