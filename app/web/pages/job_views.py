"""Jobs as their pages show them: frozen facts with rounded figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.actions.actor import Actor
from app.ledger import attempts, jobs
from app.ledger.db import Ledger
from app.ledger.registry import fleet
from app.pool.model import ENDED, Attempt, Checkpoint, FileFact, Job, JobState, WorkerId
from app.pool.status import JobStatus, job_status
from app.web.http.auth import WRITERS
from app.web.pages import job_story
from app.web.pages.job_story import StoryEntry
from app.web.pages.orphan_window import overlaps
from app.web.shapes.job_answers import waiting_answer
from app.web.shapes.outputs import files_of, media_type_of, shown_as

CHECKPOINTS = 20
TONES = {
    JobStatus.WAITING: "waiting",
    JobStatus.STARTING: "busy",
    JobStatus.RUNNING: "busy",
    JobStatus.MOVING: "degraded",
    JobStatus.CANCELLING: "degraded",
    JobStatus.SUCCEEDED: "healthy",
    JobStatus.FAILED: "down",
    JobStatus.CANCELLED: "waiting",
}


@dataclass(frozen=True)
class JobRow:
    """A job in the list."""

    id: str
    name: str
    workflow: str
    status: JobStatus
    tone: str
    why: str | None
    percent: int
    text: str
    owner: str
    worker: str | None
    worker_name: str | None
    created: datetime
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True)
class OutputRow:
    """A file that the job gave, and how the page shows it: image, video, audio or only by name."""

    name: str
    size: int
    sha256: str
    media_type: str
    shown: str | None


@dataclass(frozen=True)
class JobView:
    """The part of a job's page that changes."""

    row: JobRow
    until: datetime | None
    error: str | None
    attempt: int
    failures: int
    max_failures: int
    story: tuple[StoryEntry, ...]
    logged: int  # the attempt whose log is shown, unless all are
    outputs: tuple[OutputRow, ...]
    warnings: tuple[str, ...]
    result: str | None
    checkpoints: tuple[tuple[str, Checkpoint], ...]
    cancellable: bool
    retriable: bool


def job_row(job: Job, names: Mapping[WorkerId, str], hosts: bool) -> JobRow:
    """The job's row in a list; with `hosts` the reader may see where it runs."""
    status, waiting = job_status(job), waiting_answer(job)
    worker = job.worker if hosts else None
    return JobRow(
        id=job.id,
        name=job.spec.name,
        workflow=job.spec.requirement.workflow,
        status=status,
        tone=TONES[status],
        why=waiting.why if waiting else None,
        percent=int(100 * job.progress),
        text=job.text if job.state not in ENDED else "",
        owner=job.spec.owner,
        worker=worker,
        worker_name=names.get(worker) if worker else None,
        created=job.created_at,
        started=job.started_at,
        ended=job.ended_at,
    )


def job_view(ledger: Ledger, job: Job, reader: Actor, logged: int | None) -> JobView:
    """The job's page for this reader, beside the log of the attempt `logged`, or of the newest one."""
    tried = attempts.of_job(ledger, job.id)
    logged = logged or max((attempt.number for attempt in tried), default=1)
    result = jobs.result(ledger, job.id) if job.state is JobState.SUCCEEDED else None
    waiting = waiting_answer(job)
    writes = reader.role in WRITERS
    return JobView(
        row=job_row(job, fleet.names(ledger, [job.worker]), reader.sees_all),
        until=waiting.until if waiting else None,
        error=job.error if job.state is JobState.FAILED else None,
        attempt=job.attempt,
        failures=job.failures,
        max_failures=job.spec.max_failures,
        story=_story(ledger, job, tried, reader.sees_all),
        logged=logged,
        outputs=tuple(_output(file) for file in files_of(result)) if result else (),
        warnings=tuple(result.warnings) if result else (),
        result=repr(result.result) if result and result.result is not None else None,
        checkpoints=_checkpoints(ledger, job),
        cancellable=writes and job.state not in ENDED,
        retriable=writes and job.state in ENDED,
    )


def _story(ledger: Ledger, job: Job, tried: Sequence[Attempt], hosts: bool) -> tuple[StoryEntry, ...]:
    late = [job_story.late_report(row) for row in attempts.refused_reports(ledger, job.id)]
    until = overlaps(ledger, job, tried)
    return job_story.tell(tried, hosts, late, until, job.spec.resume is not None)


def _checkpoints(ledger: Ledger, job: Job) -> tuple[tuple[str, Checkpoint], ...]:
    newest = attempts.checkpoints(ledger, job.id, limit=CHECKPOINTS)
    return tuple((job_story.anchor(saved.attempt, saved.number), saved) for saved in newest)


def _output(file: FileFact) -> OutputRow:
    media_type = media_type_of(file)
    return OutputRow(file.name, file.size, file.sha256, media_type, shown_as(media_type))
