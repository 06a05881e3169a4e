"""Jobs: submit, find, list, cancel, and read results. What is assigned and runs is in open_attempts.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from datetime import datetime
from types import MappingProxyType

from psycopg.types.json import Jsonb

from app.ledger.db import Ledger, Row
from app.pool.model import (
    AttemptEnd,
    Job,
    JobId,
    JobSpec,
    JobState,
    Json,
    Requirement,
    WaitingFor,
    WaitingReason,
    WorkerId,
    new_id,
)

COLUMNS = {"tags": "requires", "group": "group_name"}  # of a specification's fields; all others are named as they are
SPEC_COLUMNS = tuple(each.name for each in fields(JobSpec) if each.name not in ("requirement", "not_before"))


@dataclass(frozen=True)
class Result:
    """The accepted result; its outputs lie in the folder of this attempt."""

    job: JobId
    attempt: int
    worker: WorkerId
    result: Json
    outputs: Sequence[Mapping[str, Json]]
    at: datetime
    warnings: Sequence[str]  # what people should look at, in sentences


def submit(ledger: Ledger, spec: JobSpec, waiting: WaitingReason | None = None) -> Job:
    """Make a new pending job; once this has returned, outside a transaction, it is accepted.

    waiting: why a job of this workflow waits, for as long as dispatch has said nothing of its class.
    Raises Unavailable without PostgreSQL; whether the job was accepted is then unknown.
    """
    return submit_all(ledger, [spec], {spec.requirement.workflow: waiting} if waiting else {})[0]


def submit_all(
    ledger: Ledger,
    specs: Sequence[JobSpec],
    waiting: Mapping[str, WaitingReason] = MappingProxyType({}),
) -> list[Job]:
    """Make new pending jobs, all or none, and return them in this order; `waiting` by workflow, as in submit.

    Raises Unavailable, and Collided with `waiting`. A call that is repeated makes the jobs twice.
    """
    facts = [_row_of(spec) for spec in specs]
    with ledger.transaction() if waiting else nullcontext(ledger) as tx:
        rows = tx.all("jobs_submit", jobs=Jsonb(facts))
        if guesses := _guess(rows, waiting):
            tx.do("waiting_note_classes", notes=class_notes(guesses), known=False)
    made = {row["id"]: job_of(row) for row in rows}
    return [made[fact["id"]] for fact in facts]


def _guess(rows: Iterable[Row], waiting: Mapping[str, WaitingReason]) -> dict[str, WaitingReason]:
    """Give due jobs whose class has no reason yet the one guessed for their workflow; returns these by class."""
    guesses = {}
    for row in rows:
        if row["class_why"] is None and row["not_before"] is None and (guess := waiting.get(row["workflow"])):
            guesses[row["class_name"]] = guess
            row.update(class_why=guess.words, class_waiting_for=guess.waiting_for)
    return guesses


def class_notes(reasons: Mapping[str, WaitingReason]) -> Jsonb:
    """Why classes wait, by name, as the queries take it."""
    return Jsonb([{"name": name, "why": why.words, "waiting_for": why.waiting_for} for name, why in reasons.items()])


def find(ledger: Ledger, job: JobId) -> Job | None:
    """The job, or None."""
    row = ledger.one("job_find", id=job)
    return job_of(row) if row else None


def listed(
    ledger: Ledger,
    *,
    owner: str | None = None,
    states: Sequence[JobState] = (),
    workflow: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[Job]:
    """Jobs, newest first, after the one whose (created_at, id) is `before`."""
    before_at, before_id = before or (None, None)
    rows = ledger.all(
        "jobs_listed",
        owner=owner,
        states=[str(state) for state in states] or None,
        workflow=workflow,
        before_at=before_at,
        before_id=before_id,
        limit=limit,
    )
    return [job_of(row) for row in rows]


def cancel(ledger: Ledger, job: JobId) -> Job | None:
    """Cancel a job, wherever it is; None when it had ended, or there is none. May be repeated."""
    row = ledger.one("job_cancel", id=job, cause=str(AttemptEnd.CANCELLED))
    return job_of(row) if row else None


def result(ledger: Ledger, job: JobId) -> Result | None:
    """The accepted result, or None."""
    row = ledger.one("job_result", job=job)
    if row is None:
        return None
    return Result(job, row["attempt"], row["worker_id"], row["result"], row["outputs"], row["at"], row["warnings"])


def results(ledger: Ledger, jobs: Sequence[JobId]) -> dict[JobId, tuple[Json, Sequence[str]]]:
    """The results of these jobs, of those that have succeeded, and what people should look at of each."""
    rows = ledger.all("results_of_jobs", jobs=list(jobs))
    return {row["job_id"]: (row["result"], row["warnings"]) for row in rows}


def _row_of(spec: JobSpec) -> Row:
    """A new job's columns, as jobs_submit takes them; Jsonb writes tuples as arrays."""
    facts = {**vars(spec.requirement), **vars(spec), "not_before": spec.not_before and spec.not_before.isoformat()}
    for name in ("requirement", "above_vram_mb"):  # the latter is of a job that has failed
        del facts[name]
    return {"id": new_id(), **{COLUMNS.get(name, name): value for name, value in facts.items()}}


def job_of(row: Row) -> Job:
    """A job from its row and the column attempt_ended."""
    return Job(
        id=row["id"],
        spec=spec_of(row),
        state=JobState(row["state"]),
        attempt=row["attempt"],
        failures=row["failures"],
        worker=row["worker_id"],
        incarnation=row["incarnation"],
        progress=row["progress"],
        text=row["text"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        not_before=row["not_before"],
        error=row["error"],
        waiting=row["waiting"] or row.get("class_why"),
        waiting_for=_waiting_for(row),
        failed_on=frozenset(row["failed_on"]),
        attempt_ended=row["attempt_ended"],
    )


def _waiting_for(row: Row) -> WaitingFor | None:
    word = row["waiting_for"] if row["waiting"] else row.get("class_waiting_for")
    return WaitingFor(word) if word else None


def spec_of(row: Row) -> JobSpec:
    """What was submitted, from the job's row; `not_before` is left out: the row has that of the next attempt."""
    return JobSpec(requirement=requirement_of(row), **{name: row[name] for name in SPEC_COLUMNS})


def requirement_of(row: Row) -> Requirement:
    """What the job demands, from its row."""
    return Requirement(
        workflow=row["workflow"],
        tags=tuple(row["requires"]),
        prefers=tuple((tag, weight) for tag, weight in row["prefers"]),
        group=row["group_name"],
        min_vram_mb=row["min_vram_mb"],
        gpus=row["gpus"],
        only_workers=tuple(row["only_workers"]),
        exclude_workers=tuple(row["exclude_workers"]),
        above_vram_mb=row["above_vram_mb"],
    )
