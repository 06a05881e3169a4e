"""Counts over the whole ledger, for /metrics and the page's tiles."""

from __future__ import annotations

from app.ledger.db import Ledger


def jobs(ledger: Ledger) -> dict[str, int]:
    """How many jobs are in each state."""
    return _counts(ledger, "count_jobs")


def attempts(ledger: Ledger) -> dict[str, int]:
    """How many attempts ended each way, since the ledger began."""
    return _counts(ledger, "count_attempts")


def transitions(ledger: Ledger) -> dict[str, int]:
    """How many changes led to each health, since the ledger began."""
    return _counts(ledger, "count_transitions")


def _counts(ledger: Ledger, query: str) -> dict[str, int]:
    return {row["word"]: row["count"] for row in ledger.all(query)}
