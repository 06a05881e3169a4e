"""Retention: partitions of the samples by day, and joins that nobody needs any more."""

from __future__ import annotations

from app.ledger.db import Ledger


def make_partitions(ledger: Ledger, days: int) -> None:
    """Partitions of worker_samples for today and so many days ahead; those that exist stay."""
    ledger.do("samples_partitions", days=days)


def drop_partitions(ledger: Ledger, days: int) -> None:
    """Drop the samples of days that lie further back."""
    ledger.do("samples_drop", days=days)


def forget_joins(ledger: Ledger) -> int:
    """Forget old joins, but never one whose incarnation is above its worker's: no number is given twice."""
    return ledger.do("joins_forget")
