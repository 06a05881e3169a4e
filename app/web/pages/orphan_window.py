"""The orphan window: until when an attempt on a cut-off host may still run there, beside the job's next attempt.

Strict jobs have none. It ends early when the host is heard of again, when the attempt's end is reported, and where
the failure is a proven death.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from app.ledger import attempts, investigations, policy
from app.ledger.db import Ledger
from app.ledger.investigations import SuspectedCause
from app.ledger.registry import workers
from app.pool.model import ORPHAN_KILL_S, Attempt, AttemptEnd, Health, Job

CUT_OFF = (SuspectedCause.HOST_SILENT, SuspectedCause.REDIS_UNREACHABLE)
SILENT = (Health.DEGRADED, Health.DOWN)


def overlaps(ledger: Ledger, job: Job, tried: Sequence[Attempt]) -> dict[int, datetime]:
    """By the attempt's number, the moment when the last of its processes is gone, whatever happens."""
    taken = [
        attempt for attempt in tried if attempt.end is AttemptEnd.TAKEN_AWAY and attempt.started_at and attempt.ended_at
    ]
    if not taken or job.spec.strict:
        return {}
    pool = policy.read(ledger)
    if pool.strict:
        return {}
    # Counted from the failover, which came after the host's last heartbeat: the true end is no later.
    longest = timedelta(seconds=(job.spec.max_orphan_s or pool.max_orphan_s) + ORPHAN_KILL_S)
    until = {attempt.number: attempt.ended_at + longest for attempt in taken if attempt.ended_at}
    now, over = datetime.now(timezone.utc), _over(ledger, job)
    return {
        attempt.number: until[attempt.number]
        for attempt in taken
        if until[attempt.number] > now and attempt.number not in over and _cut_off(ledger, attempt)
    }


def _over(ledger: Ledger, job: Job) -> set[int]:
    """The numbers of attempts whose end was reported late: they have no process left."""
    return {row["attempt"] for row in attempts.refused_reports(ledger, job.id) if row["kind"] == "end"}


def _cut_off(ledger: Ledger, attempt: Attempt) -> bool:
    worker = workers.find(ledger, attempt.worker)
    # A worker that was heard of again was told to stop the attempt; a new incarnation began by killing it.
    if worker is None or worker.incarnation != attempt.incarnation or worker.health not in SILENT:
        return False
    newest = investigations.listed(ledger, worker=attempt.worker, limit=1)
    return bool(newest) and newest[0].cause in CUT_OFF
