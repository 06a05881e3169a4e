"""Waiting jobs as placement reads them from the ledger; no ledger is needed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from app.ledger.waiting import WaitingJob
from app.pool.model import Job, JobId, JobSpec, JobState, Requirement

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def waiting(
    name: str,
    owner: str = "ana",
    priority: int = 50,
    age_s: float = 10.0,
    class_name: str = "c",
    workflow: str = "burn",
    min_vram_mb: int = 0,
) -> WaitingJob:
    spec = JobSpec(Requirement(workflow, min_vram_mb=min_vram_mb), owner=owner, priority=priority)
    created_at = NOON - timedelta(seconds=age_s)
    return WaitingJob(
        Job(JobId(name), spec, JobState.PENDING, 1, 0, None, None, 0, "", created_at), class_name, frozenset(), age_s
    )
