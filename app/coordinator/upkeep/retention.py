"""Retention: what is kept for a time only. Hourly; safe beside another coordinator's."""

from __future__ import annotations

from app.ledger import retention
from app.ledger.db import Ledger

EVERY_S = 3600.0
SAMPLES_DAYS = 30


def step(ledger: Ledger) -> None:
    """Make the partitions of the next days, drop old ones, forget old joins."""
    retention.make_partitions(ledger, days=2)
    retention.drop_partitions(ledger, SAMPLES_DAYS)
    retention.forget_joins(ledger)
