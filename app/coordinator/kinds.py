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

from app.coordinator.strategy import CAPABILITY_FIRST
from app.pool.matching import all_tags, refusal
from app.pool.model import Requirement, Worker, WorkerId

Words = frozenset[tuple[str, str]]  # (what, name): what open classes mention
Facts = tuple[object, ...]
SPARE_TAGS = ("spare", "")  # some class counts the tags that a worker has beyond those that it mentions


@dataclass(frozen=True)
class Demand:
    """What jobs of one class ask for, exactly: nobody excluded, their own memory."""

    requirement: Requirement
    above_mb: int = 0  # a card with more free MiB than this


def words_of(demand: Demand, strategy: str) -> Words:
    """What of a worker this demand looks at."""
    wish = demand.requirement
    tags = (*wish.tags, *(tag for tag, _ in wish.prefers))
    words = {("workflow", wish.workflow), *(("tag", tag) for tag in tags)}
    if wish.group:
        words.add(("group", wish.group))
    return frozenset({*words, SPARE_TAGS} if strategy == CAPABILITY_FIRST else words)


def facts_of(worker: Worker, words: Words) -> Facts:
    """What these words tell of the worker; workers with equal facts are alike to all who use no other words."""
    tags = all_tags(worker)
    return (
        tuple(sorted((w.name, w.slots, w.vram_mb) for w in worker.workflows if _counts(worker, w.name, words))),
        tuple(sorted(tag for tag in tags if ("tag", tag) in words)),
        tuple(sorted(group for group in worker.groups if ("group", group) in words)),
        tuple(sorted(gpu.vram_mb for gpu in worker.gpus)),
        len(tags) if SPARE_TAGS in words else None,
    )


def _counts(worker: Worker, workflow: str, words: Words) -> bool:
    """Whether some class asks for this workflow, and the worker may run it, whatever else may stand against it."""
    return ("workflow", workflow) in words and refusal(worker, Requirement(workflow)) is None


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
        return {id_: facts_of(worker, words) for id_, worker in self._workers.items()}

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
