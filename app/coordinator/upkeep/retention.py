"""Retention: rows that are kept for a time only. Hourly; safe beside another coordinator's."""

from __future__ import annotations

from app.ledger.db import Ledger
from app.ledger.registry import joins, samples

EVERY_S = 3600.0
SAMPLES_DAYS = 30


def step(ledger: Ledger) -> None:
    """Make the partitions of the next days, drop old ones, forget old joins. Raises Unavailable."""
    samples.make_partitions(ledger, days=2)
    samples.drop_partitions(ledger, SAMPLES_DAYS)
    joins.forget(ledger)
