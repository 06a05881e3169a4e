"""The plan of the eligible sets: which there are, who may stand in which, and which of them a class reads.

Workers of one kind share a set for each need and order. A class that would have to read more than
MOST_KINDS of them, or that names its workers, has a set of its own. In the leader's memory only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from app.coordinator.placement.scoring import Order, offset, order
from app.coordinator.placement.worker_classes import Demand, Facts, Kinds, Words, words_of
from app.pool.capacity import Need, need
from app.pool.matching import refusal
from app.pool.model import Worker, WorkerId
from app.pool.policy import DEFAULTS

MOST_KINDS = 16  # that a class reads the heads of; each costs the server some microseconds
CLOSE_AFTER_S = 3600.0


@dataclass(frozen=True)
class Rules:
    """What people set of how workers are chosen."""

    strategy: str = DEFAULTS.strategy
    of_groups: Mapping[str, str] = field(default_factory=dict)
    prefer_weight: float = DEFAULTS.prefer_weight

    def strategy_of(self, demand: Demand) -> str:
        """That of the demand's group if it has one, else the pool's."""
        return self.of_groups.get(demand.requirement.group or "", self.strategy)


@dataclass(frozen=True)
class Entry:
    """A set that a worker may stand in: for which need, by what order, and what is added to its score there."""

    name: str
    needs: Need
    order: Order
    offset: float = 0.0


@dataclass(frozen=True)
class Part:
    """A set that a demand reads: what it adds to the scores there, and what a job of it takes of such a worker."""

    name: str
    offset: float
    needs: Need


@dataclass(frozen=True)
class Own:
    """The sets of one demand alone, one for each need; what is added stands in their scores."""

    name: str
    parts: dict[str, Part] = field(default_factory=dict)


class Plan:
    """The open demands, and the kinds of the workers that may be given jobs."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._rules = Rules()
        self._used: dict[Demand, float] = {}  # open, oldest first
        self._own: dict[Demand, Own] = {}  # of these, those that share no set
        self._own_of: dict[WorkerId | None, list[Demand]] = {}  # the same by whom they name; None: nobody
        self._kinds = Kinds()
        self._parts: dict[Demand, tuple[Part, ...]] = {}
        self._entries: dict[str, tuple[Entry, ...]] = {}

    def follow(self, rules: Rules) -> bool:
        """Go by these rules from now on; True when they are others than before: every worker's sets may be."""
        if rules == self._rules:
            return False
        self._rules = rules
        self._own = {demand: Own(own.name) for demand, own in self._own.items()}
        self._learn()
        return True

    def is_open(self, demand: Demand) -> bool:
        """Whether there are sets for it; notes that it is used."""
        found = demand in self._used
        if found:
            self._used[demand] = self._now()
        return found

    def open(self, demand: Demand) -> set[WorkerId]:
        """Have sets for it; returns the workers that were taken and whose sets are others now."""
        facts = self._narrow_facts(demand)
        if facts is None:
            self._used[demand] = self._now()
            self._make_own(demand)
            named = frozenset(demand.requirement.only_workers)
            some = (w for w in self._kinds.workers() if not named or w.id in named)
            return {worker.id for worker in some if refusal(worker, demand.requirement) is None}
        before = {worker.id: self._shared(self._kinds.of(worker.id)) for worker in self._kinds.workers()}
        self._used[demand] = self._now()
        self._kinds.learn(self._words_with(demand), facts)
        self._forget()
        return {id_ for id_, entries in before.items() if self._shared(self._kinds.of(id_)) != entries}

    def close_unused(self) -> None:
        """Forget the demands that nobody has had for an hour; all sets may be others then."""
        oldest = self._now() - CLOSE_AFTER_S
        unused = [demand for demand, at in self._used.items() if at < oldest]
        for demand in unused:
            del self._used[demand]
            self._own.pop(demand, None)
        if unused:
            self._own_of.clear()
            for demand in self._own:
                self._index(demand)
            self._learn()

    def narrow(self) -> None:
        """Give the newest class a set of its own when one reads too many; all sets may be others then."""
        shared = [demand for demand in self._used if demand not in self._own]
        if any(len(self.parts(demand)) > MOST_KINDS for demand in shared):
            self._make_own(shared[-1])
            self._learn()

    def take(self, worker: Worker) -> tuple[Entry, ...]:
        """This worker may be given jobs, as it is now; returns the sets that it may stand in."""
        if self._kinds.take(worker):
            self._forget_kinds()
        demands = (*self._own_of.get(worker.id, ()), *self._own_of.get(None, ()))
        own = [entry for demand in demands if (entry := self._own_entry(demand, worker)) is not None]
        return (*self._shared(self._kinds.of(worker.id)), *own)

    def drop(self, worker: WorkerId) -> None:
        """This one may not."""
        if self._kinds.drop(worker):
            self._forget_kinds()

    def parts(self, demand: Demand) -> tuple[Part, ...]:
        """The sets that this open demand reads."""
        if demand in self._own:
            return tuple(self._own[demand].parts.values())
        if demand not in self._parts:
            self._parts[demand] = self._shared_parts(demand)
        return self._parts[demand]

    def names(self) -> set[str]:
        """Of every set that there may be."""
        return {part.name for demand in self._used for part in self.parts(demand)}

    def memories(self, further: Demand) -> int:
        """How many different amounts of memory the open demands, and this further one, name."""
        return len({(each.requirement.min_vram_mb, each.above_mb) for each in (*self._used, further)})

    def strategy_of(self, demand: Demand) -> str:
        """The strategy that places it."""
        return self._rules.strategy_of(demand)

    def _make_own(self, demand: Demand) -> None:
        self._own[demand] = Own(self._kinds.new_name())
        self._index(demand)

    def _index(self, demand: Demand) -> None:
        for worker in frozenset(demand.requirement.only_workers) or (None,):
            self._own_of.setdefault(worker, []).append(demand)

    def _learn(self) -> None:
        """Go by the words of the open demands that share sets."""
        shared = (demand for demand in self._used if demand not in self._own)
        words = frozenset(word for demand in shared for word in words_of(demand, self.strategy_of(demand)))
        if words != self._kinds.words:
            self._kinds.learn(words, self._kinds.under(words))
        self._forget()

    def _forget(self) -> None:
        self._parts.clear()
        self._entries.clear()

    def _forget_kinds(self) -> None:
        """There is a kind more or less: forget who reads which, and what those had that are gone."""
        self._parts.clear()
        self._entries = {kind: entries for kind, entries in self._entries.items() if kind in self._kinds.like}

    def _words_with(self, demand: Demand) -> Words:
        return self._kinds.words | words_of(demand, self.strategy_of(demand))

    def _narrow_facts(self, demand: Demand) -> dict[WorkerId, Facts] | None:
        """What all workers are with this demand's words; None when it, or another one, would read too many sets."""
        if demand.requirement.only_workers:
            return None
        facts = self._kinds.under(self._words_with(demand))
        kinds = {facts[worker.id]: worker for worker in self._kinds.workers()}.values()
        shared = (each for each in (*self._used, demand) if each not in self._own)
        narrow = len(kinds) <= MOST_KINDS or all(
            sum(refusal(kind, each.requirement) is None for kind in kinds) <= MOST_KINDS for each in shared
        )
        return facts if narrow else None

    def _shared(self, kind: str) -> tuple[Entry, ...]:
        if kind not in self._entries:
            worker = self._kinds.like[kind]
            fitting = (d for d in self._used if d not in self._own and refusal(worker, d.requirement) is None)
            found = {entry.name: entry for entry in (self._entry(kind, worker, demand) for demand in fitting)}
            self._entries[kind] = tuple(found.values())
        return self._entries[kind]

    def _shared_parts(self, demand: Demand) -> tuple[Part, ...]:
        found = []
        for kind, worker in self._kinds.like.items():
            if refusal(worker, demand.requirement) is None:
                entry = self._entry(kind, worker, demand)
                found.append(Part(entry.name, self._offset(demand, worker, entry.needs), entry.needs))
        return tuple(found)

    def _own_entry(self, demand: Demand, worker: Worker) -> Entry | None:
        if refusal(worker, demand.requirement) is not None:
            return None
        own = self._own[demand]
        entry = self._entry(own.name, worker, demand)
        own.parts.setdefault(entry.name, Part(entry.name, 0.0, entry.needs))
        return replace(entry, offset=self._offset(demand, worker, entry.needs))

    def _entry(self, prefix: str, worker: Worker, demand: Demand) -> Entry:
        needs, by = need(worker, demand.requirement, demand.above_mb), order(self.strategy_of(demand))
        taken = f"{needs.slots}.{needs.cards}.{needs.vram_mb}.{needs.least_mb}"
        return Entry(f"{prefix}:{taken}:{by}", needs, by)

    def _offset(self, demand: Demand, worker: Worker, needs: Need) -> float:
        return offset(self.strategy_of(demand), worker, demand.requirement, needs, self._rules.prefer_weight)
