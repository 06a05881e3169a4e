"""Attempts with their checkpoints and refused reports: the story of a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.ledger.db import Ledger, Row
from app.pool.codec import from_plain
from app.pool.model import Attempt, AttemptEnd, Checkpoint, FileFact, JobId, JobState, WorkerId


@dataclass(frozen=True)
class WorkerAttempt:
    """An attempt as its worker's page lists it."""

    attempt: Attempt
    job_name: str
    workflow: str
    job_state: JobState
    owner: str


@dataclass(frozen=True)
class AttemptFiles:
    """An attempt of an ended job whose files may go, except its output where it keeps that."""

    job: JobId
    attempt: int
    keeps_output: bool


def of_job(ledger: Ledger, job: JobId) -> list[Attempt]:
    """Every attempt of a job, the first first."""
    return [_attempt(row) for row in ledger.all("attempts_of_job", job=job)]


def of_worker(
    ledger: Ledger, worker: WorkerId, before: tuple[datetime, str] | None = None, limit: int = 50
) -> list[WorkerAttempt]:
    """The attempts that a worker was given, newest first, after (assigned_at, job) `before`."""
    before_at, before_id = before or (None, None)
    rows = ledger.all("attempts_of_worker", worker=worker, before_at=before_at, before_id=before_id, limit=limit)
    return [
        WorkerAttempt(_attempt(row), row["job_name"], row["workflow"], JobState(row["job_state"]), row["owner"])
        for row in rows
    ]


def checkpoints(ledger: Ledger, job: JobId, before: tuple[int, int] | None = None, limit: int = 50) -> list[Checkpoint]:
    """The checkpoints of a job, newest first, after the (attempt, number) `before`, with whether their files remain."""
    attempt, number = before or (None, None)
    rows = ledger.all("checkpoints_of_job", job=job, attempt=attempt, number=number, limit=limit)
    return [_checkpoint(row) for row in rows]


def newest_checkpoints(ledger: Ledger, jobs: Sequence[JobId]) -> dict[JobId, Checkpoint]:
    """The newest kept checkpoint of each of these jobs that has one: from it a next attempt resumes."""
    return {row["job_id"]: _checkpoint(row) for row in ledger.all("checkpoints_of_jobs", jobs=list(jobs))}


def refused_reports(ledger: Ledger, job: JobId) -> list[Row]:
    """The refused reports of a job, oldest first: attempt, worker_id, incarnation, kind, report (JSON), why, at."""
    return ledger.all("refused_of_job", job=job)


def remains(ledger: Ledger, orphan_s: float, limit: int) -> list[AttemptFiles]:
    """Attempts of ended jobs that have files left.

    Where a cut-off attempt may be running on, `orphan_s` seconds have passed since the job's end, or its own
    max_orphan_s where that is longer.
    """
    rows = ledger.all("attempts_remains", orphan_s=orphan_s, limit=limit)
    return [AttemptFiles(row["job_id"], row["number"], row["keeps_output"]) for row in rows]


def removed(ledger: Ledger, gone: Sequence[AttemptFiles]) -> None:
    """Note that the files of these attempts are gone."""
    ledger.do_many("attempt_files_removed", [{"job": each.job, "attempt": each.attempt} for each in gone])


def _attempt(row: Row) -> Attempt:
    return Attempt(
        job=row["job_id"],
        number=row["number"],
        worker=row["worker_id"],
        worker_name=row.get("worker_name", ""),
        incarnation=row["incarnation"],
        assigned_at=row["assigned_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        end=AttemptEnd(row["end_word"]) if row["end_word"] else None,
        cause=row["cause"],
        then=row["then_word"],
        error=row["error"],
        signal=row["signal"],
        exit_code=row["exit_code"],
        oom_killed=bool(row["oom_killed"]),
        resumed_from=row["resumed_from"],
        lost_s=row["lost_s"],
        refused=row["refused"],
        lost_steps=row["lost_steps"],
        placement=row["placement"],
    )


def _checkpoint(row: Row) -> Checkpoint:
    files = from_plain(tuple[FileFact, ...], row["files"])
    return Checkpoint(
        job=row["job_id"],
        attempt=row["attempt"],
        number=row["number"],
        state=row["state"],
        files=files,
        fraction=row["fraction"],
        at=row["at"],
        kept=row.get("kept", True),
    )
