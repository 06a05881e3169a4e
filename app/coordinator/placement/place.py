"""What goes into place.lua and what comes out of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from app.coordinator.placement.index_plan import Source
from app.ledger.waiting import WaitingJob
from app.pool.capacity import Need, least_mb
from app.pool.codec import plain
from app.pool.load import load
from app.pool.model import Json, Requirement, WorkerId
from app.pool.protocol import Reservation

LOOK_AT = 16  # workers at the head of a set, beyond the excluded ones


@dataclass(frozen=True)
class Run:
    """Jobs with one demand, in the order in which they are to be placed, and the workers that are not for them."""

    requirement: Requirement
    jobs: Sequence[WaitingJob]
    excluded: Collection[WorkerId] = ()


class Unplaced(Enum):
    """Why a job was given no worker."""

    FULL = "full"  # nobody has room for its class
    OLDER_ATTEMPT = "older attempt"  # who has room may still have an older attempt of this very job


@dataclass(frozen=True)
class Place:
    """The worker that was chosen, what is reserved there, and why it won.

    record: strategy, score, load, parts {gpu, queue, vram}, runners_up [{worker, score}, …]
    """

    worker: WorkerId
    reserved: Reservation = field(default_factory=Reservation)
    record: Mapping[str, Json] = field(default_factory=dict, compare=False)


def argument(run: Run, sources: Sequence[Source], order: str) -> str:
    """The run as place.lua reads it; sources: the sets of its demand, which are ordered so.

    The sets may be those of a demand for less memory: what the jobs themselves ask for is said beside them.
    """
    by_need: dict[Need, list[Source]] = {}
    for source in sources:
        by_need.setdefault(source.needs, []).append(source)
    facts = {
        "jobs": [[job.id, job.attempt] for job in run.jobs],
        "needs": [
            {**plain(needs), "sets": [[source.name, source.offset] for source in alike]}
            for needs, alike in by_need.items()
        ],
        "excluded": sorted({*run.requirement.exclude_workers, *run.excluded}),
        "least_mb": least_mb(run.requirement),
        "vram_mb": run.requirement.min_vram_mb or 0,
        "look_at": LOOK_AT,
        "order": order,
    }
    return json.dumps(facts, separators=(",", ":"))


def placed(answers: str, strategy: str) -> list[Place | Unplaced]:
    """What place.lua answers, for each job of the run."""
    return [_placed(answer, strategy) for answer in json.loads(answers)]


def _placed(answer: Any, strategy: str) -> Place | Unplaced:
    if isinstance(answer, str):
        return Unplaced(answer)
    found = load(answer["load"])
    record = {
        "strategy": strategy,
        "score": _rounded(answer),
        "queued": answer["queued"],
        "load": found.score,
        "parts": plain(found.parts),
        "runners_up": [{**other, "score": _rounded(other)} for other in answer["runners_up"]],
    }
    reserved = Reservation(tuple(answer["gpus"]), answer["vram_mb"], answer["whole"], answer["slots"])
    return Place(WorkerId(answer["worker"]), reserved, record)


def _rounded(answer: Any) -> float:
    return round(float(answer["score"]), 6)
