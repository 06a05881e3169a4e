"""Notifications: the person who was told marks them as read."""

from __future__ import annotations

from app.actions.actor import Actor
from app.ledger import events
from app.ledger.db import Ledger


def mark_read(ledger: Ledger, actor: Actor, notification: str | None) -> int:
    """The number of notifications that are newly marked as read: this one if it is the actor's, or all of them."""
    return events.mark_read(ledger, actor.name, notification)
