"""Worker classes: workers that no open demand tells apart are one class. Pure.

All workers of a class match the same demands, give the same to each, and get the same added to their scores. So they
stand in one set for each need, not in one for each demand, and who matches is asked once for a class.
(Nomad calls the same a computed node class.)
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable
from functools import cache

from app.pool.matching import all_tags, offered, refusal
from app.pool.model import Requirement, Worker, WorkerId, Workflow
from app.pool.policy import CAPABILITY_FIRST

Terms = frozenset[tuple[str, str]]  # (what, name): what open demands mention
Traits = frozenset[tuple[object, ...]]  # what is true of a worker in these terms
FEW = 8
SPARE_TAGS = ("spare", "")  # some demand counts the tags that a worker has beyond those that it mentions


def terms_of(requirement: Requirement, strategy: str) -> Terms:
    """What this demand looks at of a worker."""
    tags = (*requirement.tags, *(tag for tag, _ in requirement.prefers))
    terms = {("workflow", requirement.workflow), *(("tag", tag) for tag in tags)}
    if requirement.group:
        terms.add(("group", requirement.group))
    return frozenset({*terms, SPARE_TAGS} if strategy == CAPABILITY_FIRST else terms)


def traits_of(worker: Worker, terms: Terms) -> Traits:
    """What these terms tell of the worker; workers with equal traits are alike to all demands that use no others.

    Terms add up: traits_of(w, a | b) == traits_of(w, a) | traits_of(w, b).
    """
    traits: set[tuple[object, ...]] = {("cards", *sorted(gpu.vram_mb for gpu in worker.gpus))}
    tags = all_tags(worker) if len(terms) > FEW else (*worker.tags, *worker.dynamic_tags)
    for what, name in terms:
        if (what == "tag" and name in tags) or (what == "group" and name in worker.groups):
            traits.add((what, name))
        elif what == "workflow" and (offer := _offer(worker, name)):
            traits.add((what, name, offer.slots, offer.vram_mb))
        elif (what, name) == SPARE_TAGS:
            traits.add((what, len(all_tags(worker))))
    return frozenset(traits)


def _offer(worker: Worker, workflow: str) -> Workflow | None:
    """What the worker offers and may run, whatever else may stand against it."""
    offer = offered(worker, workflow)
    return offer if offer and refusal(worker, Requirement(workflow)) is None else None


class WorkerClasses:
    """Workers by class. A class keeps its name until it is split, so that who stays need not be written anew."""

    def __init__(self) -> None:
        self.terms: Terms = frozenset()
        self._term = secrets.token_hex(4)  # another leader's classes, and so its sets, have other names
        self._made = 0
        self._workers: dict[WorkerId, Worker] = {}
        self._traits: dict[WorkerId, Traits] = {}
        self._members: Counter[Traits] = Counter()
        self._names: dict[Traits, str] = {}
        self.examples: dict[str, Worker] = {}  # one worker of each class

    def of(self, worker: WorkerId) -> str:
        """The name of this worker's class. Raises KeyError of one that has none."""
        return self._names[self._traits[worker]]

    def workers(self) -> Iterable[Worker]:
        """Every worker that has a class."""
        return self._workers.values()

    def take(self, worker: Worker) -> bool:
        """Classify the worker as it is now; True when there is a class more or less than before."""
        if self._workers.get(worker.id) == worker:
            return False
        traits = traits_of(worker, self.terms)
        self._workers[worker.id] = worker
        if self._traits.get(worker.id) == traits:
            return False
        gone = self._leave(worker.id)
        self._traits[worker.id] = traits
        self._members[traits] += 1
        if traits not in self._names:
            name = self._names[traits] = self.new_name()
            self.examples[name] = worker
            return True
        return gone

    def drop(self, worker: WorkerId) -> bool:
        """Let the worker have no class; True when it was the last one of its class."""
        self._workers.pop(worker, None)
        return self._leave(worker)

    def under(self, terms: Terms) -> dict[WorkerId, Traits]:
        """The traits of every worker in these terms."""
        if terms >= self.terms:  # the usual case, with few new ones
            more, union = terms - self.terms, cache(Traits.union)
            return {id_: union(self._traits[id_], traits_of(w, more)) for id_, w in self._workers.items()}
        same: dict[Traits, Traits] = {}  # equal traits as one object: they are compared often
        found = {id_: traits_of(worker, terms) for id_, worker in self._workers.items()}
        return {id_: same.setdefault(traits, traits) for id_, traits in found.items()}

    def learn(self, terms: Terms, traits: dict[WorkerId, Traits]) -> None:
        """Classify by these terms, in which workers have these traits.

        Where a class is split its largest part keeps the name.
        """
        parts = Counter((self.of(worker), its) for worker, its in traits.items())
        self.terms, self._traits = terms, traits
        self._members = Counter(traits.values())
        self._names.clear()
        used: set[str] = set()
        for (name, its), _ in parts.most_common():
            if its not in self._names:
                self._names[its] = self.new_name() if name in used else name
                used.add(name)
        self.examples = {self._names[its]: self._workers[worker] for worker, its in traits.items()}

    def new_name(self) -> str:
        """A name that no class and no set has had."""
        self._made += 1
        return f"{self._term}.{self._made}"

    def _leave(self, worker: WorkerId) -> bool:
        traits = self._traits.pop(worker, None)
        if traits is None:
            return False
        self._members[traits] -= 1
        if self._members[traits]:
            return False
        del self._members[traits], self.examples[self._names.pop(traits)]
        return True
