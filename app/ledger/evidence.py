"""Evidence: what is known of a worker at a moment, as an investigation keeps it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.ledger import attempts
from app.ledger.db import Ledger, Row
from app.ledger.registry import samples, workers
from app.pool.codec import plain
from app.pool.model import WorkerId
from app.pool.protocol import Beat

SAMPLES_S = 1800
TRANSITIONS, ENDS = 20, 10


def gathered(tx: Ledger, worker: WorkerId, why: str, beat: Beat | None = None) -> dict[str, Any]:
    """What is known of a worker now, as JSON holds it: why, beat, samples, transitions, ends of attempts."""
    return {
        "why": why,
        "beat": plain(beat) if beat else None,
        "samples": [_plain_row(row) for row in samples.of_worker(tx, worker, SAMPLES_S)],
        "transitions": [_plain_row(vars(each)) for each in workers.transitions(tx, worker, limit=TRANSITIONS)],
        "ends": [_plain_row(vars(each.attempt)) for each in attempts.of_worker(tx, worker, limit=ENDS)],
    }


def _plain_row(row: Row) -> dict[str, Any]:
    """The row with times as RFC 3339."""
    return {name: value.isoformat() if isinstance(value, datetime) else plain(value) for name, value in row.items()}
