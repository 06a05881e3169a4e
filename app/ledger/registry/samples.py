"""Samples: a worker's figures of each minute, in partitions by day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from app.ledger.db import Ledger, Row
from app.pool.model import Json, WorkerId


@dataclass(frozen=True)
class MinuteSample:
    """A worker's figures of one minute; None where nobody could measure."""

    at: datetime
    utilisation: float | None
    load: float | None


def keep(ledger: Ledger, samples: Iterable[Mapping[str, Json]]) -> None:
    """Keep these figures as this minute's; what a second leader brings for the same minute is passed over.

    Each has: worker; load, utilisation, vram_used (0 to 1, None where unknown); temperature_c of its hottest card;
    power_w of all its cards; attempts, how many it had; figures, with cpu, gpus and the load's parts.
    """
    ledger.do_many("worker_sample", [{**each, "figures": Jsonb(each.get("figures", {}))} for each in samples])


def of_worker(ledger: Ledger, worker: WorkerId, seconds: float) -> list[Row]:
    """The worker's samples of the last `seconds`, oldest first, one a minute.

    Columns: worker_id; at; load, utilisation, vram_used (0 to 1); temperature_c (of the hottest card); power_w (of all
    cards); attempts; figures, the JSON with cpu, gpus and the load's parts. A figure that nobody measured is None.
    """
    return ledger.all("worker_samples_between", worker=worker, seconds=seconds)


def series(ledger: Ledger, worker: WorkerId, begin: datetime, until: datetime, step_s: int) -> list[Row]:
    """The means of a worker's samples over steps of `step_s`, oldest first: at, score, the load's parts, jobs, gpus."""
    return ledger.all("worker_series", worker=worker, begin=begin, until=until, step_s=step_s)


def of_workers(
    ledger: Ledger, workers: Sequence[WorkerId] | None, seconds: float
) -> dict[WorkerId, list[MinuteSample]]:
    """The samples of the last `seconds` of each of these workers, or of all workers for None, oldest first."""
    found: dict[WorkerId, list[MinuteSample]] = defaultdict(list)
    for row in ledger.all("fleet_samples", workers=None if workers is None else list(workers), seconds=seconds):
        found[row["worker_id"]].append(MinuteSample(row["at"], row["utilisation"], row["load"]))
    return found


def make_partitions(ledger: Ledger, days: int) -> None:
    """Make partitions of worker_samples for today and the next `days`; safe to repeat."""
    ledger.do("samples_partitions", days=days)


def drop_partitions(ledger: Ledger, days: int) -> None:
    """Drop the samples of days that lie further back than `days`; safe to repeat."""
    ledger.do("samples_drop", days=days)
