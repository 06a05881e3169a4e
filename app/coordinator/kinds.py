"""Kinds: workers that no open class of jobs tells apart are one kind. Pure.

All workers of a kind match the same classes, need the same for them and get the same added to their
scores. So they stand in one set for each need, not in one for each class, and who matches is asked
once for a kind.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from app.coordinator.strategy import CAPABILITY_FIRST
from app.pool.matching import all_tags, refusal
from app.pool.model import Requirement, Worker

Words = frozenset[tuple[str, str]]  # (what, name): what open classes mention
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


def kind_of(worker: Worker, words: Words) -> str:
    """The name of the worker's kind under these words; of equal kinds equal, whoever computes it."""
    tags = all_tags(worker)
    facts = (
        tuple(sorted((w.name, w.slots, w.vram_mb) for w in worker.workflows if _counts(worker, w.name, words))),
        tuple(sorted(tag for tag in tags if ("tag", tag) in words)),
        tuple(sorted(group for group in worker.groups if ("group", group) in words)),
        tuple(sorted(gpu.vram_mb for gpu in worker.gpus)),
        len(tags) if SPARE_TAGS in words else None,
    )
    return _name(facts)


def _counts(worker: Worker, workflow: str, words: Words) -> bool:
    """Whether some class asks for this workflow, and the worker may run it, whatever else may stand against it."""
    return ("workflow", workflow) in words and refusal(worker, Requirement(workflow)) is None


def own_name(demand: Demand) -> str:
    """The name of a set that is this demand's alone."""
    return _name(demand)


@lru_cache(maxsize=65_536)
def _name(facts: object) -> str:
    return hashlib.blake2b(repr(facts).encode(), digest_size=6).hexdigest()
