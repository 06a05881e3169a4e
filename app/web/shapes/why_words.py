"""Filters and placements in people's words: "12 workers: 5 lack optix, 3 have too little memory, 1 is full"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.pool.load import WORDS
from app.pool.model import Json, Requirement
from app.pool.policy import CAPABILITY_FIRST, LEAST_LOADED, ROUND_ROBIN
from app.pool.status import STANDING
from app.pool.why import Turned
from app.web.http.filters import number, percent

TURNED = {  # by filter: of one worker that it turned away, and of many
    **STANDING,
    "only": ("is not among the named workers", "are not among the named workers"),
    "excluded": ("is excluded", "are excluded"),
    "vram": ("has too little GPU memory", "have too little GPU memory"),
    "gpus": ("has too few GPUs", "have too few GPUs"),
    "blocked": ("is blocked for this workflow", "are blocked for this workflow"),
    "failed": ("failed this job before", "failed this job before"),
    "older attempt": ("may still have an older attempt", "may still have an older attempt"),
    "heartbeat": ("has no heartbeat", "have no heartbeat"),
    "slots": ("is full", "are full"),
    "size": ("has too few slots", "have too few slots"),
    "cards": ("has too few free GPUs", "have too few free GPUs"),
    "free vram": ("has too little free GPU memory", "have too little free GPU memory"),
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
    """What the workers that one filter turned away are or lack."""
    one = turned.workers == 1
    if turned.filter == "workflow":
        return f"{'does' if one else 'do'} not offer {requirement.workflow}"
    if turned.filter == "tags":
        tags = ", ".join(requirement.tags)
        return f"{'lacks' if one else 'lack'} {tags if len(requirement.tags) == 1 else f'one of {tags}'}"
    if turned.filter == "group":
        return f"{'is' if one else 'are'} not in group {requirement.group}"
    return TURNED[turned.filter][not one]


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
