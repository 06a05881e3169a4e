"""Pauses: a paused worker finishes what it runs and gets nothing new, until a person or a time resumes it.

The end of a pause is stored in the ledger, so it comes in time whatever was restarted meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.ledger import events
from app.ledger.db import Ledger
from app.pool.model import Intent, WorkerId
from app.pool.status import until_words


@dataclass(frozen=True)
class Pause:
    """How long a pause lasts, and why in a person's words; without `until` and `for_s` until a person resumes."""

    until: datetime | None = None
    for_s: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class IntentChange:
    """A worker whose intent changed; `until` is the end of its pause, None for one without."""

    id: WorkerId
    name: str
    until: datetime | None


def pause(ledger: Ledger, which: Sequence[WorkerId], length: Pause, actor: str) -> list[IntentChange]:
    """Pause workers, paused ones until another time; returns the workers that changed. Raises Unavailable."""
    with ledger.transaction() as tx:
        paused = set_intents(
            tx, which, Intent.PAUSED, until=length.until, for_s=length.for_s, by=actor, note=length.note
        )
        note = f": {length.note}" if length.note else ""
        lengths = {each.id: f" {until_words(each.until)}" if each.until else "" for each in paused}
        sentences = {each.id: f"{actor} paused {each.name}{lengths[each.id]}{note}" for each in paused}
        events.record_of_workers(tx, "worker.paused", sentences, actor)
        return paused


def resume(ledger: Ledger, which: Sequence[WorkerId], actor: str) -> list[IntentChange]:
    """Resume the paused ones among these workers; returns the workers that changed. Raises Unavailable."""
    with ledger.transaction() as tx:
        resumed = set_intents(tx, which, Intent.ACTIVE)
        sentences = {each.id: f"{actor} resumed {each.name}" for each in resumed}
        events.record_of_workers(tx, "worker.resumed", sentences, actor)
        return resumed


def over(ledger: Ledger) -> int:
    """Resume workers whose pause is over; returns how many there were. Raises Unavailable."""
    with ledger.transaction() as tx:
        ended = tx.all("pauses_over")
        sentences = {row["id"]: f"{row['name']} takes jobs again: its pause is over" for row in ended}
        events.record_of_workers(tx, "worker.resumed", sentences)
        return len(ended)


def set_intents(
    ledger: Ledger,
    workers: Sequence[WorkerId],
    to: Intent,
    *,
    until: datetime | None = None,
    for_s: float | None = None,
    by: str | None = None,
    note: str | None = None,
) -> list[IntentChange]:
    """Pause workers, paused ones until another time, or resume the paused ones; returns the workers that changed."""
    rows = ledger.all(
        "workers_set_intent",
        workers=list(workers),
        to_intent=str(to),
        until=until,
        for_s=for_s,
        by=by,
        note=note,
    )
    return [IntentChange(row["id"], row["name"], row["paused_until"]) for row in rows]


def intents(ledger: Ledger, workers: Sequence[WorkerId]) -> dict[WorkerId, tuple[str, Intent]]:
    """(name, intent) by worker; ids that are not registered are left out."""
    rows = ledger.all("workers_intents", workers=list(workers))
    return {row["id"]: (row["name"], Intent(row["intent"])) for row in rows}
