"""Groups: named sets of workers that a job may be bound to."""

from __future__ import annotations

from app.ledger.db import Ledger


def names(ledger: Ledger) -> list[str]:
    """Every group's name."""
    return [row["name"] for row in ledger.all("groups_names")]


def strategies(ledger: Ledger) -> dict[str, str]:
    """By group, of those that do not follow the pool's."""
    return {row["name"]: row["strategy"] for row in ledger.all("groups_strategies")}
