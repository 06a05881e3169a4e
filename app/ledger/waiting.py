"""Jobs that wait: their classes, the first of each queue, why they wait, and their assignment to workers.

A class is the jobs that demand exactly the same of a worker, so what is true of one of them is true of all.
A queue is what one owner has waiting in one class at one priority, oldest first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.types.json import Jsonb

from app.ledger.db import Ledger
from app.ledger.jobs import class_notes, job_of, requirement_of
from app.pool.codec import plain
from app.pool.model import Job, JobId, Json, Requirement, WaitingReason, WorkerId
from app.pool.protocol import Reservation


@dataclass(frozen=True)
class WaitingClass:
    """What each job of a class demands, and the workers on which each has failed."""

    name: str
    requirement: Requirement
    failed_on: frozenset[WorkerId]

    @property
    def avoided(self) -> frozenset[WorkerId]:
        """The workers that its jobs exclude, and those on which they have failed."""
        return self.failed_on.union(self.requirement.exclude_workers)


@dataclass(frozen=True)
class WaitingJob:
    """A due pending job, as much of it as decides whose turn it is."""

    id: JobId
    attempt: int
    class_name: str
    priority: int
    owner: str
    created_at: datetime
    age_s: float


@dataclass(frozen=True)
class Assignment:
    """A pending job to be moved to a worker's incarnation, with what was reserved for it there."""

    job: JobId
    attempt: int
    worker: WorkerId
    incarnation: int
    reserved: Reservation = field(default_factory=Reservation)
    strict: bool = False  # also where the job itself does not say so
    timeout_s: int | None = None  # where the job itself names none
    class_name: str | None = None  # what the job demanded when it was placed; None: whatever it demands
    revision: int | None = None  # of the worker's setup by which it was placed; None: however it is set up
    placement: Mapping[str, Json] | None = None  # why the worker won


def due(ledger: Ledger, now: datetime | None = None) -> int:
    """Let jobs whose time has come wait like all others; returns how many. May be repeated."""
    return ledger.do("waiting_due", now=now)


def classes(ledger: Ledger, known: Mapping[str, WaitingClass]) -> dict[str, WaitingClass]:
    """Every class that has due jobs, by name; `known` ones are not read again, since a name stands for one demand."""
    names = [row["class_name"] for row in ledger.all("waiting_class_names")]
    strange = [name for name in names if name not in known]
    rows = ledger.all("waiting_classes", names=strange) if strange else []
    read = {
        row["class_name"]: WaitingClass(row["class_name"], requirement_of(row), frozenset(row["failed_on"]))
        for row in rows
    }
    # A class whose last job went between the two statements is in neither.
    return {name: known.get(name) or read[name] for name in names if name in known or name in read}


def heads(ledger: Ledger, classes: Collection[str], each: int) -> list[WaitingJob]:
    """The first jobs of each queue of these classes, at most `each` of a queue, in no order."""
    rows = ledger.all("waiting_heads", classes=list(classes), each=each) if classes else []
    return [WaitingJob(**row) for row in rows]


def assign(ledger: Ledger, assignments: Iterable[Assignment]) -> dict[JobId, Job]:
    """Move the jobs that are still what was placed to their workers, where these still take them; returns these jobs.

    May be repeated: a job that was moved before is not among those that a second call returns.
    """
    rows = [{**plain(each), **plain(each.reserved)} for each in assignments]
    return {row["id"]: job_of(row) for row in ledger.all("waiting_assign", assignments=Jsonb(rows))}


def slots_in_use(ledger: Ledger) -> dict[str, int]:
    """Slots by owner, of every owner with attempts that have not ended."""
    return {row["owner"]: row["slots"] for row in ledger.all("waiting_slots_in_use")}


def count(ledger: Ledger) -> int:
    """How many jobs are pending."""
    row = ledger.one("waiting_count")
    return int(row["jobs"]) if row else 0


def note_barred(ledger: Ledger, why: WaitingReason) -> None:
    """Write why jobs wait that repeat a strict job which has processes left; all others wait as their class does."""
    ledger.do("waiting_note_barred", why=why.words, waiting_for=why.waiting_for)
    ledger.do("waiting_clear_barred")


def note_classes(ledger: Ledger, reasons: Mapping[str, WaitingReason]) -> None:
    """Write why the jobs of these classes wait; may be repeated."""
    if reasons:
        ledger.do("waiting_note_classes", notes=class_notes(reasons), known=True)


def forget_classes(ledger: Ledger) -> int:
    """Forget why classes waited in which nothing waits; returns how many."""
    return ledger.do("waiting_forget_classes")
