"""Workers as they are registered, their health and its history. A change of health is written with its transition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from psycopg.types.json import Jsonb

from app.ledger import blocks, news
from app.ledger.db import Ledger, Row
from app.pool.codec import from_plain, plain
from app.pool.model import Degraded, Gpu, Health, Intent, Worker, WorkerId, Workflow

Rows = Mapping[WorkerId, tuple[str, Worker]]  # (version of the row, the worker as it was read)

LISTS = ("allowed_workflows", "tags", "dynamic_tags", "groups")
CONVERTED = {"health", "intent", "slots", "slots_offered", "gpus", "workflows", "blocked"}
AS_STORED = tuple(field.name for field in fields(Worker) if field.name not in CONVERTED)


@dataclass(frozen=True)
class Transition:
    """One change of a worker's health."""

    id: int
    worker: WorkerId
    incarnation: int
    from_health: Health | None
    to_health: Health
    cause: str
    at: datetime


@dataclass(frozen=True)
class Note:
    """What the coordinator writes into a worker's row each minute."""

    id: WorkerId
    status: str
    tags: tuple[str, ...]
    beating: bool


def listed(ledger: Ledger) -> list[Worker]:
    """Every registered worker by name, also those that are down."""
    return [worker_of(row) for row in ledger.all("workers_listed")]


def versions(ledger: Ledger) -> dict[WorkerId, str]:
    """The version of every registered worker, ordered by name; each change of its row or its blocks gives a new one."""
    return {row["id"]: row["version"] for row in ledger.all("workers_versions")}


def found(ledger: Ledger, ids: Collection[WorkerId]) -> list[Worker]:
    """The workers of these ids; ids that are not registered are left out."""
    return [worker_of(row) for row in ledger.all("workers_found", ids=list(ids))] if ids else []


def renewed(ledger: Ledger, former: Rows) -> dict[WorkerId, tuple[str, Worker]]:
    """Every registered worker by name, with its version; only those that changed since `former` are read."""
    now = versions(ledger)
    changed = [worker for worker, version in now.items() if former.get(worker, ("",))[0] != version]
    # A row that changes between the two reads is read again the next time.
    new = {worker.id: (now[worker.id], worker) for worker in found(ledger, changed)}
    known = {**former, **new}
    return {worker: known[worker] for worker in now if worker in known}


def page(ledger: Ledger, after: tuple[str, str] | None = None, limit: int = 50) -> list[Worker]:
    """At most `limit` registered workers by name, after the one of this name and id."""
    name, last = after or (None, None)
    rows = ledger.all("workers_page", name=name, id=last, limit=limit)
    return [worker_of(row) for row in rows]


def find(ledger: Ledger, worker: WorkerId) -> Worker | None:
    """The worker, or None."""
    row = ledger.one("worker_find", id=worker)
    return worker_of(row) if row else None


def uptimes_s(ledger: Ledger, workers: Sequence[WorkerId]) -> dict[WorkerId, float]:
    """Seconds since the present incarnation of each of these workers began, up to its end where it is down or left."""
    return {row["id"]: row["seconds"] for row in ledger.all("workers_uptimes", workers=list(workers))}


def set_health(
    ledger: Ledger, worker: Worker, to: Health, cause: str, status: str, degraded_as: Degraded | None = None
) -> bool:
    """Move a worker's health from what `worker` says, with a transition, and tell people; False when it moved before.

    `cause` is a sentence for people; `degraded_as` says what kind of degraded it is.
    """
    with ledger.transaction() as tx:
        row = tx.one(
            "worker_set_health",
            worker=worker.id,
            incarnation=worker.incarnation,
            from_health=str(worker.health),
            to_health=str(to),
            cause=cause,
            degraded_as=degraded_as,
            status=status,
        )
        if row is not None:
            news.health(tx, worker.id, worker.name, row["id"], worker.health, to, cause)
        return row is not None


def note(ledger: Ledger, notes: Iterable[Note]) -> None:
    """Write the status and dynamic tags of workers, and the time of the last heartbeat of those that beat."""
    rows = [plain(each) for each in notes]
    if rows:
        ledger.do("workers_note", notes=Jsonb(rows))


def transitions(ledger: Ledger, worker: WorkerId, before: int | None = None, limit: int = 50) -> list[Transition]:
    """Changes of the worker's health, newest first, at most `limit`; `before` is the id of one already seen."""
    rows = ledger.all("worker_transitions_listed", worker=worker, before=before, limit=limit)
    return [
        Transition(
            row["id"],
            row["worker_id"],
            row["incarnation"],
            Health(row["from_health"]) if row["from_health"] else None,
            Health(row["to_health"]),
            row["cause"],
            row["at"],
        )
        for row in rows
    ]


def worker_of(row: Row) -> Worker:
    """A worker from its row; blocks where the query has read them."""
    blocked: Mapping[str, Row] = row.get("blocked") or {}
    return Worker(
        **_as_stored(row),
        health=Health(row["health"]),
        intent=Intent(row["intent"]),
        slots=row["slots_wanted"] or row["slots"],
        slots_offered=row["slots"],
        gpus=from_plain(tuple[Gpu, ...], row["gpus"]),
        workflows=from_plain(tuple[Workflow, ...], row["workflows"]),
        blocked={workflow: _block_words(block) for workflow, block in blocked.items()},
    )


def _as_stored(row: Row) -> Row:
    return {name: tuple(row[name]) if name in LISTS else row[name] for name in AS_STORED}


def _block_words(block: Row) -> str:
    since, until = (datetime.fromisoformat(block[name]) for name in ("since", "until"))
    return blocks.words(block["why"], since, until)
