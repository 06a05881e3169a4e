"""Groups: named sets of workers that a job may be bound to."""

from __future__ import annotations

from app.ledger.db import Ledger


def names(ledger: Ledger) -> list[str]:
    """Every group's name."""
    return [row["name"] for row in ledger.all("groups_names")]
