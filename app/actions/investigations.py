"""Investigations of workers' failures: people add notes, and one resolves it."""

from __future__ import annotations

from app.actions.actor import Actor
from app.actions.errors import Conflict, Missing
from app.ledger import events, investigations
from app.ledger.db import Ledger
from app.ledger.investigations import Investigation


def find(ledger: Ledger, investigation: str) -> Investigation:
    """The investigation. Raises Missing."""
    found = investigations.find(ledger, investigation)
    if found is None:
        raise Missing("there is no such investigation")
    return found


def add_note(ledger: Ledger, actor: Actor, investigation: str, text: str) -> Investigation:
    """The investigation with one more note; a resolved one takes notes too. Raises Missing."""
    if not investigations.add_note(ledger, investigation, actor.name, text):
        raise Missing("there is no such investigation")
    return find(ledger, investigation)


def resolve(ledger: Ledger, actor: Actor, investigation: str, note: str) -> Investigation:
    """The investigation, closed with what was found; its worker loses the flag. Raises Missing, Conflict."""
    before = find(ledger, investigation)
    with ledger.transaction() as tx:
        if not investigations.resolve(tx, before.id, actor.name, note):
            raise Conflict("it has been resolved before")
        sentence = f"{actor.name} resolved the investigation of {before.worker_name} ({before.cause})"
        events.record(tx, "investigation.resolved", sentence, worker=before.worker, actor=actor.name)
    return find(ledger, before.id)
