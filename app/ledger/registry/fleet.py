"""What the pages read of many workers in one query each: jobs held, idle since when, names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.ledger.db import Ledger
from app.pool.model import JobId, JobState, WorkerId


@dataclass(frozen=True)
class HeldJob:
    """A job that a worker has now, since this attempt was started or assigned."""

    id: JobId
    name: str
    workflow: str
    state: JobState
    progress: float
    text: str
    since: datetime


def jobs_held(ledger: Ledger, workers: Sequence[WorkerId]) -> dict[WorkerId, list[HeldJob]]:
    """The jobs that each of these workers has now, the oldest first; a worker without jobs is left out."""
    held: dict[WorkerId, list[HeldJob]] = defaultdict(list)
    for row in ledger.all("fleet_jobs", workers=list(workers)):
        job = HeldJob(
            row["id"],
            row["name"],
            row["workflow"],
            JobState(row["state"]),
            row["progress"],
            row["text"],
            row["since"],
        )
        held[row["worker_id"]].append(job)
    return held


def idle_since(ledger: Ledger, workers: Sequence[WorkerId]) -> dict[WorkerId, datetime]:
    """When the newest attempt of each of these workers ended; one that never had any is left out."""
    return {row["worker_id"]: row["ended_at"] for row in ledger.all("fleet_idle_since", workers=list(workers))}


def tags(ledger: Ledger) -> list[str]:
    """Every tag that a registered worker has, whoever set it and however the worker is."""
    return [row["tag"] for row in ledger.all("fleet_tags")]


def names(ledger: Ledger, workers: Iterable[WorkerId | None]) -> dict[WorkerId, str]:
    """The names of these workers by id; None among the ids is passed over."""
    wanted = sorted({worker for worker in workers if worker})
    return {row["id"]: row["name"] for row in ledger.all("worker_names", workers=wanted)} if wanted else {}
