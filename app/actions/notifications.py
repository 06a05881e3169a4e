"""Notifications: marked as read by the person who was told."""

from __future__ import annotations

from app.actions.actor import Actor
from app.ledger import events
from app.ledger.db import Ledger


def mark_read(ledger: Ledger, actor: Actor, notification: str | None) -> int:
    """How many were unread until now: this one of the actor's notifications, or all of them."""
    return events.mark_read(ledger, actor.name, notification)
