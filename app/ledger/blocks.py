"""Blocks: a worker may not run a workflow that fails there while it succeeds elsewhere; a time or a person ends it.

Decided in the transaction that applies the failing end, by whoever holds the worker's row (failures.bars).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from app.ledger import events
from app.ledger.db import Ledger
from app.pool.model import WorkerId
from app.pool.policy import Policy

POOL = "pool"  # who forgives when the time is over


@dataclass(frozen=True)
class Block:
    """A worker and a workflow that fails there; forgiven by a person, or by 'pool' when its time was over."""

    worker: WorkerId
    workflow: str
    why: str
    since: datetime
    until: datetime
    forgiven_at: datetime | None
    forgiven_by: str | None


def open_due(tx: Ledger, worker: WorkerId, workflow: str, policy: Policy) -> bool:
    """Block the worker for this workflow when its last attempts there say so; False when not, or when it is blocked."""
    failures = policy.block_failures
    why = f"{'a failure' if failures == 1 else f'{failures} failures in a row'} while others succeed"
    row = tx.one("block_open", worker=worker, workflow=workflow, failures=failures, block_s=policy.block_s, why=why)
    if row is None:
        return False
    ends = words(why, row["since"], row["until"])
    events.record(tx, "worker.blocked", f"{row['name']} is blocked for {workflow} {ends}", worker=worker)
    return True


def words(why: str, since: datetime, until: datetime) -> str:
    """When a block ends, and why it began, as matching.py puts it after the workflow and the worker's name."""
    form = "%H:%M" if until < since + timedelta(days=1) else "%Y-%m-%d %H:%M"
    return f"until {until.astimezone(timezone.utc):{form}} UTC ({why})"


def forgive(ledger: Ledger, workers: Sequence[WorkerId], workflow: str | None, actor: str) -> set[WorkerId]:
    """End these workers' open blocks for this workflow, or for all; returns the workers that had any."""
    return set(_end(ledger, actor, "blocks_forgive", workers=list(workers), workflow=workflow, who=actor))


def over(ledger: Ledger) -> int:
    """End the blocks whose time is over; returns how many workers had any."""
    return len(_end(ledger, POOL, "blocks_over"))


def listed(ledger: Ledger, worker: WorkerId, limit: int = 50) -> list[Block]:
    """The worker's blocks, open ones first, then the newest."""
    rows = ledger.all("blocks_listed", worker=worker, limit=limit)
    return [
        Block(
            row["worker_id"],
            row["workflow"],
            row["why"],
            row["since"],
            row["until"],
            row["forgiven_at"],
            row["forgiven_by"],
        )
        for row in rows
    ]


def _end(ledger: Ledger, actor: str, query: str, **which: object) -> dict[WorkerId, list[str]]:
    """End the blocks that the query finds; returns by worker the workflows that it may run again."""
    why = "its block is over" if actor == POOL else f"{actor} forgave it"
    names: dict[WorkerId, str] = {}
    ended: dict[WorkerId, list[str]] = {}
    with ledger.transaction() as tx:
        for row in tx.all(query, **which):
            names[row["worker_id"]] = row["name"]
            ended.setdefault(row["worker_id"], []).append(row["workflow"])
        sentences = {id_: f"{names[id_]} may run {', '.join(sorted(some))} again: {why}" for id_, some in ended.items()}
        events.record_of_workers(tx, "worker.unblocked", sentences, actor)
    return ended
