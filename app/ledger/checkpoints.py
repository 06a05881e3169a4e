"""A job's checkpoints, page by page, with whether their files are still there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.ledger.db import Ledger
from app.pool.codec import from_plain
from app.pool.model import FileFact, JobId, Json


@dataclass(frozen=True)
class ListedCheckpoint:
    """A checkpoint that was accepted; `kept` is false once its files were deleted."""

    attempt: int
    number: int
    at: datetime
    state: Json
    files: tuple[FileFact, ...]
    fraction: float
    kept: bool


def listed(
    ledger: Ledger, job: JobId, before: tuple[int, int] | None = None, limit: int = 50
) -> list[ListedCheckpoint]:
    """The checkpoints of a job, newest first, after the (attempt, number) `before`."""
    attempt, number = before or (None, None)
    rows = ledger.all("checkpoints_listed", job=job, attempt=attempt, number=number, limit=limit)
    return [
        ListedCheckpoint(
            row["attempt"],
            row["number"],
            row["at"],
            row["state"],
            from_plain(tuple[FileFact, ...], row["files"]),
            row["fraction"],
            row["kept"],
        )
        for row in rows
    ]
