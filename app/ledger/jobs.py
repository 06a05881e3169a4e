"""Jobs: submit, find, assign, claim, take, cancel. Each verb is one statement that compares what was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from datetime import datetime
from types import MappingProxyType
from typing import Literal

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
from app.pool.protocol import Reservation

NOT_STARTED = (JobState.ASSIGNED,)
STARTED = (JobState.RUNNING,)
COLUMNS = {"tags": "requires", "group": "group_name"}  # of a specification's fields; all others are named as they are
SPEC_COLUMNS = tuple(each.name for each in fields(JobSpec) if each.name not in ("requirement", "not_before"))


Claimed = Literal["now", "before"]  # before: the claim was sent again


@dataclass(frozen=True)
class OpenAttempt:
    """An attempt that has not ended; `state` is its job's, CANCELLED while processes are left."""

    job: JobId
    attempt: int
    worker: WorkerId
    incarnation: int
    state: JobState
    nonce: str | None
    reserved: Reservation
    strict: bool
    timeout_s: int | None
    age_s: float  # since its start, or since it was assigned
    requirement: Requirement  # as it is now: people may have moved the job to another group
    failed_on: frozenset[WorkerId] = frozenset()


@dataclass(frozen=True)
class Taken:
    """An attempt that was taken from a worker: its job is pending again with attempt + 1."""

    job: JobId
    attempt: int
    worker: WorkerId
    was: JobState
    lost_s: float | None
    owner: str
    name: str
    workflow: str


@dataclass(frozen=True)
class Result:
    """The accepted result; its outputs lie in the folder of this attempt."""

    job: JobId
    attempt: int
    worker: WorkerId
    result: Json
    outputs: Sequence[Mapping[str, Json]]
    at: datetime


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
    """Make new pending jobs, all or none, and return them in this order; `waiting` by workflow, as in submit."""
    facts = [_row_of(spec) for spec in specs]
    with ledger.transaction() if waiting else nullcontext(ledger) as tx:
        rows = tx.all("jobs_submit", jobs=Jsonb(facts))
        guesses = _guesses(rows, waiting)
        if guesses:
            tx.do("waiting_note_classes", notes=class_notes(guesses), known=False)
    made = {row["id"]: job_of({**row, **_class_reason(row, guesses)}) for row in rows}
    return [made[fact["id"]] for fact in facts]


def _guesses(rows: Iterable[Row], waiting: Mapping[str, WaitingReason]) -> dict[str, WaitingReason]:
    """Why classes wait of which nothing is known, by name."""
    unknown = {row["class_name"]: row for row in rows if row["class_why"] is None and row["not_before"] is None}
    guessed = {name: waiting.get(row["workflow"]) for name, row in unknown.items()}
    return {name: reason for name, reason in guessed.items() if reason is not None}


def _class_reason(row: Row, guesses: Mapping[str, WaitingReason]) -> Row:
    guess = guesses.get(row["class_name"]) if row["class_why"] is None and row["not_before"] is None else None
    return {"class_why": guess.words, "class_waiting_for": guess.waiting_for} if guess else {}


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


def claim(ledger: Ledger, job: JobId, attempt: int, worker: WorkerId, incarnation: int, nonce: str) -> Claimed | None:
    """When exactly this attempt was started by this claim: assigned becomes running. None when it may not start."""
    row = ledger.one("job_claim", job=job, attempt=attempt, worker=worker, incarnation=incarnation, nonce=nonce)
    return None if row is None else "before" if row["before"] else "now"


def take_back(ledger: Ledger, job: JobId, attempt: int, cause: str) -> Taken | None:
    """Make an attempt that has not started pending again; None when it has started or moved on."""
    return _first(_take(ledger, NOT_STARTED, AttemptEnd.TAKEN_BACK, cause, job=job, attempt=attempt))


def take_away(
    ledger: Ledger, job: JobId, attempt: int, cause: str, spare_strict: bool = True, died: bool = False
) -> Taken | None:
    """Make a running attempt pending again; None when it has ended, moved on, or is strict and spared.

    `died`: because its worker did, which a job survives only so often (news.poison).
    """
    end = AttemptEnd.TAKEN_AWAY
    return _first(_take(ledger, STARTED, end, cause, job=job, attempt=attempt, spare_strict=spare_strict, died=died))


def take_back_all(ledger: Ledger, worker: WorkerId, cause: str) -> list[Taken]:
    """Make everything that has not started on this worker pending again."""
    return _take(ledger, NOT_STARTED, AttemptEnd.TAKEN_BACK, cause, worker=worker)


def take_away_all(ledger: Ledger, worker: WorkerId, cause: str, spare_strict: bool = True) -> list[Taken]:
    """Make everything that runs on this worker pending again, and close what was cancelled there."""
    taken = _take(ledger, STARTED, AttemptEnd.TAKEN_AWAY, cause, worker=worker, spare_strict=spare_strict)
    ledger.do("attempt_end_cancelled", job=None, attempt=None, worker=worker)
    return taken


def cancel(ledger: Ledger, job: JobId) -> Job | None:
    """Cancel it, wherever it is; None when it had ended (or there is none)."""
    row = ledger.one("job_cancel", id=job)
    return job_of(row) if row else None


def end_cancelled(ledger: Ledger, worker: WorkerId, job: JobId, attempt: int) -> bool:
    """The last process of a cancelled attempt is gone; False when that was known."""
    return 1 == ledger.do("attempt_end_cancelled", worker=worker, job=job, attempt=attempt)


def held(ledger: Ledger, worker: WorkerId | None = None) -> list[OpenAttempt]:
    """Every attempt that has not ended, of one worker or of all."""
    return [
        OpenAttempt(
            row["job"],
            row["attempt"],
            row["worker"],
            row["incarnation"],
            JobState(row["state"]),
            row["nonce"],
            Reservation(tuple(row["given_gpus"]), row["vram_mb"], row["whole"], row["slots"]),
            row["strict"],
            row["timeout_s"],
            row["age_s"],
            requirement_of(row),
            frozenset(row["failed_on"]),
        )
        for row in ledger.all("jobs_held", worker=worker)
    ]


def held_by_worker(ledger: Ledger) -> dict[WorkerId, list[OpenAttempt]]:
    """Every attempt that has not ended, of each worker that has any."""
    found: dict[WorkerId, list[OpenAttempt]] = {}
    for each in held(ledger):
        found.setdefault(each.worker, []).append(each)
    return found


def slots_queued(ledger: Ledger) -> dict[WorkerId, int]:
    """Of each worker with attempts that have not started: the slots that all its attempts take."""
    return {row["worker"]: row["slots"] for row in ledger.all("jobs_slots_queued")}


def result(ledger: Ledger, job: JobId) -> Result | None:
    """The accepted result, or None."""
    row = ledger.one("job_result", job=job)
    if row is None:
        return None
    return Result(job, row["attempt"], row["worker_id"], row["result"], row["outputs"], row["at"])


def results(ledger: Ledger, jobs: Sequence[JobId]) -> dict[JobId, Json]:
    """What these jobs gave, of those that have succeeded."""
    return {row["job_id"]: row["result"] for row in ledger.all("results_of_jobs", jobs=list(jobs))}


def _take(
    ledger: Ledger,
    states: Sequence[JobState],
    end: AttemptEnd,
    cause: str,
    *,
    job: JobId | None = None,
    attempt: int | None = None,
    worker: WorkerId | None = None,
    spare_strict: bool = True,
    died: bool = False,
) -> list[Taken]:
    rows = ledger.all(
        "jobs_take",
        states=[str(state) for state in states],
        end_word=str(end),
        cause=cause,
        job=job,
        attempt=attempt,
        worker=worker,
        spare_strict=spare_strict,
        died=died,
    )
    return [
        Taken(
            row["id"],
            row["attempt"],
            row["worker_id"],
            JobState(row["state"]),
            row["lost_s"],
            row["owner"],
            row["name"],
            row["workflow"],
        )
        for row in rows
    ]


def _first(taken: list[Taken]) -> Taken | None:
    return taken[0] if taken else None


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
