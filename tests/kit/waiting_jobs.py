"""Waiting jobs as placement reads them from the ledger; no ledger is needed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from app.ledger.waiting import WaitingJob
from app.pool.model import JobId

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def waiting(
    name: str, owner: str = "ana", priority: int = 50, age_s: float = 10.0, class_name: str = "c", attempt: int = 1
) -> WaitingJob:
    return WaitingJob(JobId(name), attempt, class_name, priority, owner, NOON - timedelta(seconds=age_s), age_s)
