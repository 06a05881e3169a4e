"""Filters and placements in people's words: "12 workers: 5 lack optix, 3 have too little memory, 1 is full"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.pool.load import WORDS
from app.pool.model import Json, Requirement
from app.pool.policy import CAPABILITY_FIRST, LEAST_LOADED, ROUND_ROBIN
from app.pool.status import STANDING, Clause
from app.pool.why import Turned
from app.web.http.filters import number, percent

TURNED: Mapping[str, Clause] = {
    **STANDING,
    "only": Clause("is", "not among the named workers"),
    "excluded": Clause("is", "excluded"),
    "vram": Clause("has", "too little GPU memory"),
    "gpus": Clause("has", "too few GPUs"),
    "blocked": Clause("is", "blocked for this workflow"),
    "failed": Clause("failed", "this job before"),
    "older attempt": Clause("may", "still have an older attempt"),
    "heartbeat": Clause("has", "no heartbeat"),
    "slots": Clause("is", "full"),
    "size": Clause("has", "too few slots"),
    "cards": Clause("has", "too few free GPUs"),
    "free vram": Clause("has", "too little free GPU memory"),
}
WINS = {
    ROUND_ROBIN: "whose turn it was",
    CAPABILITY_FIRST: "who has least to spare",
}  # their scores tell nothing


def sentence(
    requirement: Requirement,
    workers: int,
    turned: Sequence[Turned],
    ready: int,
    unseen: int,
    ahead: datetime | None = None,
) -> str:
    """The whole answer in one sentence; `ahead` is the time before which the job may not start."""
    if not workers:
        return "no worker has joined the pool yet"
    parts = [f"{each.workers} {words(each, requirement)}" for each in turned]
    parts += [f"{ready} could take it {'then' if ahead else 'now'}"] if ready else []
    parts += [f"{unseen} more would fit, whether they have room was not looked at"] if unseen else []
    first = f"it may not start before {ahead:%Y-%m-%d %H:%M:%S} UTC; " if ahead else ""
    return f"{first}{workers} worker{'s' if workers > 1 else ''}: " + ", ".join(parts)


def words(turned: Turned, requirement: Requirement) -> str:
    """What these workers are or lack."""
    return _clause(turned.filter, requirement).of(turned.workers)


def _clause(turned_by: str, requirement: Requirement) -> Clause:
    if turned_by == "workflow":
        return Clause("does", f"not offer {requirement.workflow}")
    if turned_by == "tags":
        tags = ", ".join(requirement.tags)
        return Clause("lacks", tags if len(requirement.tags) == 1 else f"one of {tags}")
    if turned_by == "group":
        return Clause("is", f"not in group {requirement.group}")
    return TURNED[turned_by]


def won(record: Mapping[str, Json]) -> str:
    """Why the winner was chosen: the strategy and its measure, then the load with its parts."""
    strategy = record["strategy"]
    by = ", ".join(part for part in (WINS.get(strategy), place(strategy, record)) if part)
    parts = ", ".join(_part(name, part) for name, part in record["parts"].items() if part)
    return f"by {strategy}: {by}; load {number(round(record['load'], 3))}" + (f" ({parts})" if parts else "")


def place(strategy: str, record: Mapping[str, Json]) -> str:
    """A worker's place among the others: its score, if that is a load, and whether the job waits behind its slots."""
    score = f"score {number(round(record['score'], 3))}" if strategy == LEAST_LOADED else ""
    return ", ".join(part for part in (score, "a place behind its slots" if record["queued"] else "") if part)


def _part(name: str, part: Mapping[str, Json]) -> str:
    return f"{WORDS[name]} {percent(part['share'])}" + ("" if part["measured"] else ", not measured: others' mean")
