"""Filters and placements in people's words: "12 workers: 5 lack optix, 3 have too little memory, 1 is full"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.pool.load import WORDS
from app.pool.matching import NOBODY_JOINED
from app.pool.model import Json, Requirement
from app.pool.policy import CAPABILITY_FIRST, LEAST_LOADED, ROUND_ROBIN
from app.pool.status import counted
from app.pool.why import Turned
from app.web.http.filters import number, percent

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
    hold: str | None = None,
) -> str:
    """The whole answer in one sentence.

    `ahead` is the time before which the job may not start, `hold` says that its workflow is on hold, and why.
    """
    if not workers:
        return NOBODY_JOINED
    parts = [f"{each.workers} {words(each, requirement)}" for each in turned]
    parts += [f"{ready} could take it {'then' if ahead or hold else 'now'}"] if ready else []
    parts += [f"{unseen} more would fit, whether they have room was not looked at"] if unseen else []
    first = [hold] if hold else []
    first += [f"it may not start before {ahead:%Y-%m-%d %H:%M:%S} UTC"] if ahead else []
    return "; ".join([*first, f"{counted(workers, 'worker')}: {', '.join(parts)}"])


def words(turned: Turned, requirement: Requirement) -> str:
    """What these workers are or lack."""
    return turned.filter.clause(requirement).of(turned.workers)


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
