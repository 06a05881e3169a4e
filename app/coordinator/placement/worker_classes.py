"""Kinds: workers that no open class of jobs tells apart are one kind. Pure.

All workers of a kind match the same classes, need the same for them and get the same added to their
scores. So they stand in one set for each need, not in one for each class, and who matches is asked
once for a kind.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

from app.pool.matching import all_tags, offered, refusal
from app.pool.model import Requirement, Worker, WorkerId, Workflow
from app.pool.policy import CAPABILITY_FIRST

Words = frozenset[tuple[str, str]]  # (what, name): what open classes mention
Facts = frozenset[tuple[object, ...]]
FEW = 8
SPARE_TAGS = ("spare", "")  # some class counts the tags that a worker has beyond those that it mentions


@dataclass(frozen=True)
class Demand:
    """What jobs of one class ask for, exactly: nobody excluded, their own memory."""

    requirement: Requirement
    above_mb: int = 0  # a card with more free MiB than this

    def __hash__(self) -> int:
        return self._hash  # asked often, and of many words

    @cached_property
    def _hash(self) -> int:
        return hash((self.requirement, self.above_mb))


def words_of(demand: Demand, strategy: str) -> Words:
    """What of a worker this demand looks at."""
    wish = demand.requirement
    tags = (*wish.tags, *(tag for tag, _ in wish.prefers))
    words = {("workflow", wish.workflow), *(("tag", tag) for tag in tags)}
    if wish.group:
        words.add(("group", wish.group))
    return frozenset({*words, SPARE_TAGS} if strategy == CAPABILITY_FIRST else words)


def facts_of(worker: Worker, words: Words) -> Facts:
    """What these words tell of the worker; workers with equal facts are alike to all who use no other words.

    What more words tell comes to it: facts_of(w, a | b) == facts_of(w, a) | facts_of(w, b).
    """
    found: set[tuple[object, ...]] = {("cards", *sorted(gpu.vram_mb for gpu in worker.gpus))}
    tags = all_tags(worker) if len(words) > FEW else (*worker.tags, *worker.dynamic_tags)
    for what, name in words:
        if (what == "tag" and name in tags) or (what == "group" and name in worker.groups):
            found.add((what, name))
        elif what == "workflow" and (offer := _offer(worker, name)):
            found.add((what, name, offer.slots, offer.vram_mb))
        elif (what, name) == SPARE_TAGS:
            found.add((what, len(all_tags(worker))))
    return frozenset(found)


def _offer(worker: Worker, workflow: str) -> Workflow | None:
    """What the worker offers and may run, whatever else may stand against it."""
    found = offered(worker, workflow)
    return found if found and refusal(worker, Requirement(workflow)) is None else None


class Kinds:
    """Workers by kind. A kind keeps its name while it is not split, so that who stays need not be written anew."""

    def __init__(self) -> None:
        self.words: Words = frozenset()
        self._term = secrets.token_hex(4)  # another leader's kinds, and so its sets, have other names
        self._made = 0
        self._workers: dict[WorkerId, Worker] = {}
        self._facts: dict[WorkerId, Facts] = {}
        self._members: Counter[Facts] = Counter()
        self._names: dict[Facts, str] = {}
        self.like: dict[str, Worker] = {}  # one worker of each kind

    def __contains__(self, worker: WorkerId) -> bool:
        return worker in self._workers

    def of(self, worker: WorkerId) -> str:
        """The name of this worker's kind."""
        return self._names[self._facts[worker]]

    def workers(self) -> Iterable[Worker]:
        """Everyone who has a kind."""
        return self._workers.values()

    def take(self, worker: Worker) -> bool:
        """This worker is as it is now; True when there is a kind more or less than before."""
        if self._workers.get(worker.id) == worker:
            return False
        facts = facts_of(worker, self.words)
        self._workers[worker.id] = worker
        if self._facts.get(worker.id) == facts:
            return False
        gone = self._leave(worker.id)
        self._facts[worker.id] = facts
        self._members[facts] += 1
        if facts not in self._names:
            name = self._names[facts] = self.new_name()
            self.like[name] = worker
            return True
        return gone

    def drop(self, worker: WorkerId) -> bool:
        """It has no kind any more; True when its kind was its own."""
        self._workers.pop(worker, None)
        return self._leave(worker)

    def under(self, words: Words) -> dict[WorkerId, Facts]:
        """What these words would tell of everyone."""
        if words >= self.words:  # the usual case, with few new ones
            more, known = words - self.words, cache(Facts.union)
            return {id_: known(self._facts[id_], facts_of(w, more)) for id_, w in self._workers.items()}
        same: dict[Facts, Facts] = {}  # equal facts as one object: they are compared often
        found = {id_: facts_of(worker, words) for id_, worker in self._workers.items()}
        return {id_: same.setdefault(facts, facts) for id_, facts in found.items()}

    def learn(self, words: Words, facts: dict[WorkerId, Facts]) -> None:
        """Go by these words from now on, which tell these facts; of a kind that is split the largest keeps its name."""
        groups = Counter((self.of(worker), found) for worker, found in facts.items())
        self.words, self._facts = words, facts
        self._members = Counter(facts.values())
        self._names.clear()
        self.like.clear()
        known: set[str] = set()
        for (name, found), _ in groups.most_common():
            if found not in self._names:
                self._names[found] = self.new_name() if name in known else name
                known.add(name)
        self.like = {self._names[found]: self._workers[worker] for worker, found in facts.items()}

    def new_name(self) -> str:
        """One that nobody has had."""
        self._made += 1
        return f"{self._term}.{self._made}"

    def _leave(self, worker: WorkerId) -> bool:
        facts = self._facts.pop(worker, None)
        if facts is None:
            return False
        self._members[facts] -= 1
        if self._members[facts]:
            return False
        del self._members[facts], self.like[self._names.pop(facts)]
        return True
