"""Investigations: what is known of a worker's failure, until a person has looked into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from app.ledger.db import Ledger, Row
from app.pool.model import JobId, Json, TextEnum, WorkerId, new_id


class SuspectedCause(TextEnum):
    """The likeliest cause of a worker's failure, as the pool sees it; the schema lists the same."""

    PROCESS_KILLED = "process killed"
    HOST_SILENT = "host silent"
    REDIS_UNREACHABLE = "Redis unreachable"
    GPU_FELL_OFF = "GPU fell off"
    OUT_OF_MEMORY = "out of memory"  # of the host; a GPU's is its job's affair
    SEVERAL_OWNERS = "errors of several owners"


@dataclass(frozen=True)
class Investigation:
    """One failure of a worker. `evidence` has: why, beat, samples, transitions, ends, as they were when it failed."""

    id: str
    worker: WorkerId
    worker_name: str
    incarnation: int
    cause: SuspectedCause
    evidence: Mapping[str, Json]
    silent_at: datetime
    opened_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None


@dataclass(frozen=True)
class Move:
    """A job that the worker lost, and where it went on; `seconds` from the silence to the new start."""

    job: JobId
    name: str
    workflow: str
    attempt: int
    cause: str | None
    ended_at: datetime
    lost_s: float | None
    lost_steps: int | None
    to_worker: WorkerId | None
    to_name: str | None
    started_at: datetime | None
    seconds: float | None


@dataclass(frozen=True)
class InvestigationNote:
    """What a person wrote."""

    author: str
    text: str
    at: datetime


def begin(
    ledger: Ledger,
    worker: WorkerId,
    incarnation: int,
    cause: SuspectedCause,
    evidence: Mapping[str, Json],
    silence_s: float,
) -> bool:
    """Open an investigation; False when one is open for this worker: the new failure belongs to that."""
    return 1 == ledger.do(
        "investigation_open",
        id=new_id(),
        worker=worker,
        incarnation=incarnation,
        cause=str(cause),
        evidence=Jsonb(evidence),
        silence_s=silence_s,
    )


def listed(
    ledger: Ledger,
    open_only: bool = False,
    *,
    worker: WorkerId | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[Investigation]:
    """Investigations, newest first, after the one whose (opened_at, id) is `before`."""
    before_at, before_id = before or (None, None)
    rows = ledger.all(
        "investigations_listed",
        open_only=open_only,
        worker=worker,
        id=None,
        before_at=before_at,
        before_id=before_id,
        limit=limit,
    )
    return [_investigation(row) for row in rows]


def find(ledger: Ledger, investigation: str) -> Investigation | None:
    """The investigation, or None."""
    row = ledger.one(
        "investigations_listed", open_only=False, worker=None, id=investigation, before_at=None, before_id=None, limit=1
    )
    return _investigation(row) if row else None


def open_of(ledger: Ledger, workers: Sequence[WorkerId]) -> dict[WorkerId, str]:
    """By worker, the id of its open investigation."""
    return {row["worker_id"]: row["id"] for row in ledger.all("investigations_open_of", workers=list(workers))}


def moves(ledger: Ledger, investigation: str) -> list[Move]:
    """The running jobs that the worker lost until the investigation was resolved, in the order of their loss."""
    return [Move(**row) for row in ledger.all("investigation_moves", id=investigation)]


def notes(ledger: Ledger, investigation: str) -> list[InvestigationNote]:
    """What people wrote, the oldest first."""
    rows = ledger.all("investigation_notes", id=investigation)
    return [InvestigationNote(row["author"], row["text"], row["at"]) for row in rows]


def add_note(ledger: Ledger, investigation: str, who: str, text: str) -> bool:
    """Add a note, also to a resolved one; False when there is no such investigation."""
    return 1 == ledger.do("investigation_add_note", id=investigation, author=who, text=text)


def resolve(ledger: Ledger, investigation: str, who: str, note: str) -> bool:
    """Close the investigation; False when it was closed before, or there is none."""
    return 1 == ledger.do("investigation_resolve", id=investigation, who=who, note=note)


def _investigation(row: Row) -> Investigation:
    return Investigation(
        row["id"],
        row["worker_id"],
        row["worker_name"],
        row["incarnation"],
        SuspectedCause(row["cause"]),
        row["evidence"],
        row["silent_at"],
        row["opened_at"],
        row["resolved_at"],
        row["resolved_by"],
        row["note"],
    )
