"""The plan of the eligible sets: which there are, which workers may stand in each, and which of them a demand reads.

Workers of one class share a set for each need and order. A demand that would have to read more than MOST_CLASSES of
them, or that names its workers, has sets of its own. In the leader's memory only.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from app.coordinator.placement.scoring import ScoreKey, offset, order
from app.coordinator.placement.worker_classes import Terms, Traits, WorkerClasses, terms_of
from app.pool.capacity import Need, need
from app.pool.matching import refusal
from app.pool.model import Requirement, Worker, WorkerId
from app.pool.policy import DEFAULTS

MOST_CLASSES = 16  # whose heads a demand reads; each costs the server some microseconds
CLOSE_AFTER_S = 3600.0

MemoryDemand = tuple[int | None, int | None]  # that a demand names: least, and above


@dataclass(frozen=True)
class Rules:
    """What people set of how workers are chosen."""

    strategy: str = DEFAULTS.strategy
    of_groups: Mapping[str, str] = field(default_factory=dict)
    prefer_weight: float = DEFAULTS.prefer_weight

    def strategy_of(self, requirement: Requirement) -> str:
        """The strategy of the demand's group if it has one, else the pool's."""
        return self.of_groups.get(requirement.group or "", self.strategy)


@dataclass(frozen=True)
class Membership:
    """A set that a worker may stand in: for which need, by what order, and what is added to its score there."""

    name: str
    needs: Need
    order: ScoreKey
    offset: float = 0.0


@dataclass(frozen=True)
class Source:
    """A set that a demand reads: what it adds to the scores there, and what a job of it takes of such a worker."""

    name: str
    offset: float
    needs: Need


@dataclass(eq=False)
class OpenDemand:
    """A demand that has sets. Where it shares none it has a name of its own, and offsets are part of the scores."""

    requirement: Requirement
    used_at: float
    own_name: str | None = None
    sources: dict[str, Source] | None = None  # by name; None: to be found anew, of one that shares sets


class IndexPlan:
    """The open demands, and the classes of the workers that may be given jobs."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._rules = Rules()
        self._open: dict[Requirement, OpenDemand] = {}  # oldest first
        self._memories: Counter[MemoryDemand] = Counter()  # how many open demands name it
        self._own_by_worker: dict[WorkerId | None, list[OpenDemand]] = {}  # of those named; None: of all workers
        self._classes = WorkerClasses()
        self._memberships: dict[str, tuple[Membership, ...]] = {}  # in shared sets, by worker class

    def follow(self, rules: Rules) -> bool:
        """Go by these rules; True when they are others than before, and with them perhaps every worker's sets."""
        if rules == self._rules:
            return False
        self._rules = rules
        for demand in self._own():
            demand.sources = {}
        self._learn()
        return True

    def find(self, requirement: Requirement) -> OpenDemand | None:
        """The open demand for this requirement, in which nobody is excluded."""
        return self._open.get(requirement)

    def use(self, demand: OpenDemand) -> None:
        """Keep it open for another hour."""
        demand.used_at = self._now()

    def open(self, requirement: Requirement) -> set[WorkerId]:
        """Make sets for a demand that has none; returns the workers whose sets are others from now on."""
        traits = self._traits_if_shared(requirement)
        demand = OpenDemand(requirement, self._now())
        if traits is None:
            self._note_open(demand)
            self._make_own(demand)
            named = frozenset(requirement.only_workers)
            candidates = (w for w in self._classes.workers() if not named or w.id in named)
            return {worker.id for worker in candidates if refusal(worker, requirement) is None}
        before = {worker.id: self._shared(self._classes.of(worker.id)) for worker in self._classes.workers()}
        self._note_open(demand)
        self._classes.learn(self._classes.terms | self._terms_of(requirement), traits)
        self._forget()
        return {id_ for id_, sets in before.items() if self._shared(self._classes.of(id_)) != sets}

    def close_unused(self) -> None:
        """Forget the demands that nobody has had for an hour; all sets may be others then."""
        oldest = self._now() - CLOSE_AFTER_S
        unused = [requirement for requirement, demand in self._open.items() if demand.used_at < oldest]
        for requirement in unused:
            del self._open[requirement]
            self._memories -= Counter([_memory(requirement)])
        if unused:
            self._own_by_worker.clear()
            for demand in self._own():
                self._note_own(demand)
            self._learn()

    def narrow(self) -> None:
        """Give the newest demand sets of its own when one reads too many; all sets may be others then."""
        sharing = list(self._sharing())
        if any(len(self.sources(demand)) > MOST_CLASSES for demand in sharing):
            self._make_own(sharing[-1])
            self._learn()

    def take(self, worker: Worker) -> tuple[Membership, ...]:
        """Let this worker, as it is now, be given jobs; returns the sets that it may stand in."""
        if self._classes.take(worker):
            self._forget_classes()
        demands = (*self._own_by_worker.get(worker.id, ()), *self._own_by_worker.get(None, ()))
        own = (self._own_membership(demand, worker) for demand in demands)
        return (*self._shared(self._classes.of(worker.id)), *(each for each in own if each is not None))

    def drop(self, worker: WorkerId) -> None:
        """Let this worker be given nothing."""
        if self._classes.drop(worker):
            self._forget_classes()

    def sources(self, demand: OpenDemand) -> tuple[Source, ...]:
        """The sets that an open demand reads."""
        if demand.sources is None:
            demand.sources = {source.name: source for source in self._shared_sources(demand.requirement)}
        return tuple(demand.sources.values())

    def names(self) -> set[str]:
        """The names of all sets that there may be."""
        return {source.name for demand in self._open.values() for source in self.sources(demand)}

    def has_memory(self, requirement: Requirement) -> bool:
        """Whether an open demand names the same amounts of memory."""
        return _memory(requirement) in self._memories

    @property
    def memories(self) -> int:
        """How many different amounts of memory open demands name."""
        return len(self._memories)

    def strategy_of(self, requirement: Requirement) -> str:
        """The strategy by which jobs with this requirement are placed."""
        return self._rules.strategy_of(requirement)

    def _note_open(self, demand: OpenDemand) -> None:
        self._open[demand.requirement] = demand
        self._memories[_memory(demand.requirement)] += 1

    def _own(self) -> Iterator[OpenDemand]:
        return (demand for demand in self._open.values() if demand.own_name is not None)

    def _sharing(self) -> Iterator[OpenDemand]:
        return (demand for demand in self._open.values() if demand.own_name is None)

    def _make_own(self, demand: OpenDemand) -> None:
        demand.own_name, demand.sources = self._classes.new_name(), {}
        self._note_own(demand)

    def _note_own(self, demand: OpenDemand) -> None:
        for worker in frozenset(demand.requirement.only_workers) or (None,):
            self._own_by_worker.setdefault(worker, []).append(demand)

    def _terms_of(self, requirement: Requirement) -> Terms:
        return terms_of(requirement, self.strategy_of(requirement))

    def _learn(self) -> None:
        """Classify the workers by the terms of all demands that share sets."""
        terms = frozenset(term for demand in self._sharing() for term in self._terms_of(demand.requirement))
        if terms != self._classes.terms:
            self._classes.learn(terms, self._classes.under(terms))
        self._forget()

    def _forget(self) -> None:
        self._forget_sources()
        self._memberships.clear()

    def _forget_classes(self) -> None:
        """There is a class more or less: forget who reads which, and the sets of those that are gone."""
        self._forget_sources()
        self._memberships = {name: sets for name, sets in self._memberships.items() if name in self._classes.examples}

    def _forget_sources(self) -> None:
        for demand in self._sharing():
            demand.sources = None

    def _traits_if_shared(self, requirement: Requirement) -> dict[WorkerId, Traits] | None:
        """The traits of all workers in this demand's terms too; None when some demand would read too many sets then."""
        if requirement.only_workers:
            return None
        traits = self._classes.under(self._classes.terms | self._terms_of(requirement))
        examples = {traits[worker.id]: worker for worker in self._classes.workers()}.values()
        requirements = (*(demand.requirement for demand in self._sharing()), requirement)
        narrow = len(examples) <= MOST_CLASSES or all(
            sum(refusal(example, each) is None for example in examples) <= MOST_CLASSES for each in requirements
        )
        return traits if narrow else None

    def _shared(self, worker_class: str) -> tuple[Membership, ...]:
        if worker_class not in self._memberships:
            example = self._classes.examples[worker_class]
            fitting = (d.requirement for d in self._sharing() if refusal(example, d.requirement) is None)
            sets = (self._membership(worker_class, example, requirement) for requirement in fitting)
            self._memberships[worker_class] = tuple({each.name: each for each in sets}.values())
        return self._memberships[worker_class]

    def _shared_sources(self, requirement: Requirement) -> Iterator[Source]:
        for name, example in self._classes.examples.items():
            if refusal(example, requirement) is None:
                found = self._membership(name, example, requirement)
                yield Source(found.name, self._offset(requirement, example, found.needs), found.needs)

    def _own_membership(self, demand: OpenDemand, worker: Worker) -> Membership | None:
        requirement, sources = demand.requirement, demand.sources
        if refusal(worker, requirement) is not None:
            return None
        assert demand.own_name is not None and sources is not None
        found = self._membership(demand.own_name, worker, requirement)
        sources.setdefault(found.name, Source(found.name, 0.0, found.needs))
        return replace(found, offset=self._offset(requirement, worker, found.needs))

    def _membership(self, prefix: str, worker: Worker, requirement: Requirement) -> Membership:
        needs, by = need(worker, requirement), order(self.strategy_of(requirement))
        taken = f"{needs.slots}.{needs.cards}.{needs.vram_mb}.{needs.least_mb}"
        return Membership(f"{prefix}:{taken}:{by}", needs, by)

    def _offset(self, requirement: Requirement, worker: Worker, needs: Need) -> float:
        return offset(self.strategy_of(requirement), worker, requirement, needs, self._rules.prefer_weight)


def _memory(requirement: Requirement) -> MemoryDemand:
    return requirement.min_vram_mb, requirement.above_vram_mb
