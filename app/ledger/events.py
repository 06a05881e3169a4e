"""Events, what people and the pool did, and notifications, what one person is told; both in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from app.ledger.db import Ledger
from app.pool.model import JobId, Json, WorkerId


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    id: int
    at: datetime
    kind: str
    worker: WorkerId | None
    job: JobId | None
    actor: str
    sentence: str


@dataclass(frozen=True)
class Notification:
    """One thing that a person, its `owner`, is told; `facts` says it to programs."""

    id: str
    owner: str
    kind: str
    job: JobId | None
    worker: WorkerId | None
    sentence: str
    facts: Json
    at: datetime
    read_at: datetime | None


def record(
    ledger: Ledger,
    kind: str,
    sentence: str,
    *,
    worker: WorkerId | None = None,
    job: JobId | None = None,
    actor: str = "pool",
) -> None:
    """Write down what happened, in one sentence. Not to be repeated: each call is an event."""
    ledger.do("event_record", kind=kind, sentence=sentence, worker=worker, job=job, actor=actor)


def record_of_workers(ledger: Ledger, kind: str, sentences: Mapping[WorkerId, str], actor: str = "pool") -> None:
    """Write down what happened to each of these workers, in a sentence each. Not to be repeated, like `record`."""
    rows = [{"worker": worker, "sentence": sentence} for worker, sentence in sentences.items()]
    if rows:
        ledger.do("events_record_of_workers", kind=kind, actor=actor, rows=Jsonb(rows))


def listed(
    ledger: Ledger,
    *,
    worker: WorkerId | None = None,
    job: JobId | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Event]:
    """Events, newest first."""
    rows = ledger.all("events_listed", worker=worker, job=job, before=before, limit=limit)
    return [Event(r["id"], r["at"], r["kind"], r["worker_id"], r["job_id"], r["actor"], r["sentence"]) for r in rows]


def tell(
    ledger: Ledger,
    owner: str,
    kind: str,
    sentence: str,
    *,
    about: str,
    job: JobId | None = None,
    worker: WorkerId | None = None,
    facts: Json = None,
) -> bool:
    """Tell the owner once: `about` makes the id stable, so telling it again does nothing. True when it was new."""
    told = ledger.do(
        "notification_tell",
        id=f"{kind}:{about}",
        owner=owner,
        kind=kind,
        job=job,
        worker=worker,
        sentence=sentence,
        facts=Jsonb(facts or {}),
    )
    return told == 1


def tell_admins(ledger: Ledger, kind: str, sentence: str, *, about: str, worker: WorkerId, facts: Json = None) -> None:
    """Tell each owner of a valid admin token, once; `about` as in `tell`."""
    ledger.do(
        "notification_tell_admins",
        id=f"{kind}:{about}",
        kind=kind,
        worker=worker,
        sentence=sentence,
        facts=Jsonb(facts or {}),
    )


def notifications(
    ledger: Ledger, owner: str, before: tuple[datetime, str] | None = None, limit: int = 50
) -> list[Notification]:
    """What this owner was told, newest first."""
    before_at, before_id = before or (None, None)
    rows = ledger.all("notifications_listed", owner=owner, before_at=before_at, before_id=before_id, limit=limit)
    return [
        Notification(
            row["id"],
            row["owner"],
            row["kind"],
            row["job_id"],
            row["worker_id"],
            row["sentence"],
            row["facts"],
            row["at"],
            row["read_at"],
        )
        for row in rows
    ]


def unread(ledger: Ledger, owner: str) -> int:
    """How many of the owner's notifications are unread."""
    row = ledger.one("notifications_unread", owner=owner)
    return int(row["unread"]) if row else 0


def mark_read(ledger: Ledger, owner: str, notification: str | None = None) -> int:
    """Mark one, or all, as read; returns how many were unread."""
    return ledger.do("notifications_read", owner=owner, id=notification)
