"""Pauses: a paused worker finishes what it runs and gets nothing new, until a person or a time resumes it.

The end stands in the ledger, so a pause ends in time whatever was restarted meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.ledger import events, workers
from app.ledger.db import Ledger
from app.ledger.workers import Moved
from app.pool.model import Intent, WorkerId


@dataclass(frozen=True)
class Pause:
    """How long, and why in a person's words; without a time until a person resumes."""

    until: datetime | None = None
    for_s: float | None = None
    note: str | None = None


def pause(ledger: Ledger, which: Sequence[WorkerId], wish: Pause, actor: str) -> list[Moved]:
    """Pause those that are active, or paused until another time; returns them."""
    with ledger.transaction() as tx:
        paused = workers.set_intents(
            tx, which, Intent.PAUSED, until=wish.until, for_s=wish.for_s, by=actor, note=wish.note
        )
        note = f": {wish.note}" if wish.note else ""
        sentences = {each.id: f"{actor} paused {each.name}{_until(each.until)}{note}" for each in paused}
        events.record_of_workers(tx, "worker.paused", sentences, actor)
        return paused


def resume(ledger: Ledger, which: Sequence[WorkerId], actor: str) -> list[Moved]:
    """Let those that are paused take jobs again; returns them."""
    with ledger.transaction() as tx:
        resumed = workers.set_intents(tx, which, Intent.ACTIVE)
        sentences = {each.id: f"{actor} resumed {each.name}" for each in resumed}
        events.record_of_workers(tx, "worker.resumed", sentences, actor)
        return resumed


def over(ledger: Ledger) -> int:
    """Resume those whose pause is over; returns how many there were."""
    with ledger.transaction() as tx:
        ended = tx.all("pauses_over")
        sentences = {row["id"]: f"{row['name']} takes jobs again: its pause is over" for row in ended}
        events.record_of_workers(tx, "worker.resumed", sentences)
        return len(ended)


def _until(moment: datetime | None) -> str:
    return f" until {moment:%Y-%m-%d %H:%M} UTC" if moment else ""
