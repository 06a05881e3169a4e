"""Open attempts: claim, find, take back or away, end. Each verb is one statement that compares what was.

An attempt is open from its assignment to its end. One that has not started is taken back, one that runs is
taken away; either way its job is pending again with the next attempt's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.ledger.db import Ledger
from app.ledger.jobs import requirement_of
from app.pool.model import AttemptEnd, JobId, JobState, Requirement, WorkerId
from app.pool.protocol import Reservation

NOT_STARTED = (JobState.ASSIGNED,)
STARTED = (JobState.RUNNING,)

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
    died: bool  # its worker died under it


def claim(ledger: Ledger, job: JobId, attempt: int, worker: WorkerId, incarnation: int, nonce: str) -> Claimed | None:
    """Start exactly this attempt: assigned becomes running. None when it may not start.

    May be repeated with the same nonce: a claim that was accepted is then found as "before".
    """
    row = ledger.one("job_claim", job=job, attempt=attempt, worker=worker, incarnation=incarnation, nonce=nonce)
    return None if row is None else "before" if row["before"] else "now"


def take_back(ledger: Ledger, job: JobId, attempt: int, cause: str) -> Taken | None:
    """Make an attempt that has not started pending again; None when it has started or moved on."""
    return _first(_take(ledger, NOT_STARTED, AttemptEnd.TAKEN_BACK, cause, job=job, attempt=attempt))


def take_away(
    ledger: Ledger, job: JobId, attempt: int, cause: str, spare_strict: bool = True, died: bool = False
) -> Taken | None:
    """Make a running attempt pending again; None when it has ended, moved on, or is strict and spared.

    `died`: the worker died under it; deaths.follow says what becomes of the job then.
    """
    end = AttemptEnd.TAKEN_AWAY
    return _first(_take(ledger, STARTED, end, cause, job=job, attempt=attempt, spare_strict=spare_strict, died=died))


def take_back_all(ledger: Ledger, worker: WorkerId, cause: str) -> list[Taken]:
    """Make everything that has not started on this worker pending again."""
    return _take(ledger, NOT_STARTED, AttemptEnd.TAKEN_BACK, cause, worker=worker)


def take_away_all(ledger: Ledger, worker: WorkerId, cause: str, spare_strict: bool = True) -> list[Taken]:
    """Make everything that runs on this worker pending again, and close what was cancelled there."""
    taken = _take(ledger, STARTED, AttemptEnd.TAKEN_AWAY, cause, worker=worker, spare_strict=spare_strict)
    _end_cancelled(ledger, worker)
    return taken


def end_cancelled(ledger: Ledger, worker: WorkerId, job: JobId, attempt: int) -> bool:
    """Close a cancelled attempt whose last process is gone; False when it was closed before."""
    return 1 == _end_cancelled(ledger, worker, job, attempt)


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


def _end_cancelled(ledger: Ledger, worker: WorkerId, job: JobId | None = None, attempt: int | None = None) -> int:
    cause = str(AttemptEnd.CANCELLED)  # its end's word: a job is cancelled by people, and a worker's Cause adds nothing
    return ledger.do("attempt_end_cancelled", worker=worker, job=job, attempt=attempt, cause=cause)


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
            died and row["state"] == JobState.RUNNING,
        )
        for row in rows
    ]


def _first(taken: list[Taken]) -> Taken | None:
    return taken[0] if taken else None
