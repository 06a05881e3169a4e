"""What is kept for a time only."""

from __future__ import annotations

from app.coordinator.upkeep import retention
from app.ledger.db import Ledger
from app.ledger.registry import samples

FIGURES = {"load": 0.5, "utilisation": None, "vram_used": None, "temperature_c": None, "power_w": None, "attempts": 1}


def partitions(ledger: Ledger) -> set[str]:
    with ledger.transaction() as tx:
        assert tx._connection is not None
        rows = tx._connection.execute(
            "SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid "
            "WHERE inhparent = 'worker_samples'::regclass"
        ).fetchall()
    return {row["relname"] for row in rows}


def test_partitions_are_made_ahead_once_and_take_over_the_samples_that_came_early(ledger: Ledger) -> None:
    samples.keep(ledger, [{"worker": "w", **FIGURES}])
    retention.step(ledger)
    retention.step(ledger)
    assert len(partitions(ledger)) == 4
    assert [row["load"] for row in samples.of_worker(ledger, "w", 120)] == [0.5]  # type: ignore[arg-type]


def test_old_partitions_are_dropped_and_the_rest_stays(ledger: Ledger) -> None:
    retention.step(ledger)
    samples.drop_partitions(ledger, days=-1)
    assert len(partitions(ledger)) == 3
