"""Jobs that wait: their classes, the first of each queue, and why they wait.

A queue is what one owner has waiting in one class at one priority, oldest first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from app.ledger.db import Ledger, Row
from app.ledger.jobs import job_of, notes_of, requirement_of
from app.pool.model import Job, JobId, Requirement, WorkerId


@dataclass(frozen=True)
class WaitingClass:
    """Due jobs with equal requirements; `why` they wait as it was noted last."""

    name: str
    requirement: Requirement
    why: str | None


@dataclass(frozen=True)
class WaitingJob:
    """A due pending job, and the workers on which it has failed before."""

    job: Job
    class_name: str
    failed_on: frozenset[WorkerId]
    age_s: float

    @property
    def above_mb(self) -> int:
        """It wants a card with more free memory than this, where there is one; 0 unless it ran out of it."""
        return self.job.above_vram_mb or 0

    @property
    def wish(self) -> Wish:
        """What it wants if all of it can be had."""
        needs = self.job.spec.requirement
        without = frozenset(needs.exclude_workers)
        return Wish(self.class_name, needs.min_vram_mb or 0, without, self.failed_on, self.above_mb)


@dataclass(frozen=True)
class Wish:
    """What a job wants beside what its class does; one that found no room stands for those that want as much."""

    class_name: str
    least_mb: int = 0  # 0: whatever it demands
    without: frozenset[WorkerId] = frozenset()  # excluded by itself
    failed_on: frozenset[WorkerId] = frozenset()
    above_mb: int = 0

    def is_within(self, other: Wish) -> bool:
        """Whether the other wants as much, or more: then what has no room for this one has none for it."""
        if self.failed_on or self.above_mb:
            return (
                self == other
            )  # what has failed is not heeded where nobody else could run it, which hangs on the rest
        alike = self.class_name == other.class_name
        return alike and self.least_mb <= other.least_mb and self.without <= other.without


def due(ledger: Ledger, now: datetime | None = None) -> int:
    """How many jobs begin to wait like all others, because their time has come."""
    return ledger.do("waiting_due", now=now)


def classes(ledger: Ledger) -> list[WaitingClass]:
    """Every class that has due jobs."""
    return [WaitingClass(row["class"], requirement_of(row), row["why"]) for row in ledger.all("waiting_classes")]


def heads(ledger: Ledger, classes: Collection[str], each: int, no_room: Iterable[Wish] = ()) -> list[WaitingJob]:
    """Of each queue of these classes the first so many jobs, in no order, but for those that would find no room."""
    known = Jsonb([_told(wish) for wish in no_room])
    rows = ledger.all("waiting_heads", classes=list(classes), each=each, no_room=known) if classes else []
    return [WaitingJob(job_of(row), row["class"], frozenset(row["failed_on"]), row["age_s"]) for row in rows]


def larger(ledger: Ledger, class_name: str, than_mb: int, most: int) -> dict[JobId, int]:
    """Of a class the first so many jobs that demand more memory than this, in MiB, and how much."""
    rows = ledger.all("waiting_larger", class_name=class_name, than_mb=than_mb, most=most)
    return {row["id"]: row["min_vram_mb"] for row in rows}


def slots_in_use(ledger: Ledger) -> dict[str, int]:
    """By owner, of those that have anything that has not ended."""
    return {row["owner"]: row["slots"] for row in ledger.all("waiting_slots_in_use")}


def count(ledger: Ledger) -> int:
    """How many jobs are pending."""
    row = ledger.one("waiting_count")
    return int(row["jobs"]) if row else 0


def note_jobs(ledger: Ledger, why: Mapping[JobId, str]) -> None:
    """Write why these pending jobs wait; all others that are due wait for the same reason as their class."""
    if why:
        ledger.do("waiting_note_jobs", notes=Jsonb([{"job": job, "why": text} for job, text in why.items()]))
    ledger.do("waiting_clear_jobs", but=list(why))


def note_barred(ledger: Ledger, why: str) -> None:
    """Write why those wait that repeat a strict job which has processes left."""
    ledger.do("waiting_note_barred", why=why)


def note_classes(ledger: Ledger, why: Mapping[str, str]) -> None:
    """Write why the jobs of these classes wait."""
    if why:
        ledger.do("waiting_note_classes", notes=notes_of(why), known=True)


def forget_classes(ledger: Ledger) -> int:
    """Forget the classes in which nothing waits; how many."""
    return ledger.do("waiting_forget_classes")


def _told(wish: Wish) -> Row:
    avoids = {"without": sorted(wish.without), "failed_on": sorted(wish.failed_on)}
    return {"class": wish.class_name, "least_mb": wish.least_mb, "above_mb": wish.above_mb, **avoids}
