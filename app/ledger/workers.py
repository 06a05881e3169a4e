"""Workers: the registry, joins, health and intent. A change of health is written with its transition."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from app.ledger import news
from app.ledger.db import Ledger, Row
from app.pool.codec import from_plain, plain
from app.pool.model import Degraded, Gpu, Health, Intent, Json, Worker, WorkerId, Workflow, new_id
from app.pool.protocol import Offer

Rows = Mapping[WorkerId, tuple[str, Worker]]  # workers as they were read, each with its row's version


@dataclass(frozen=True)
class Join:
    """A join under way; nothing of it is registered until it is confirmed."""

    id: str
    worker: WorkerId
    incarnation: int
    identity: str
    nonce: str
    answer: str
    offer: Offer
    token_sha256: str
    admitted_by: str | None  # the join token's id; None: the worker's own token
    age_s: float
    confirmed: bool


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
    """What is written of a worker each minute."""

    id: WorkerId
    status: str
    tags: tuple[str, ...]
    beating: bool


def listed(ledger: Ledger) -> list[Worker]:
    """Every registered worker by name, also those that are down."""
    return [worker_of(row) for row in ledger.all("workers_listed")]


def versions(ledger: Ledger) -> dict[WorkerId, str]:
    """Of every registered worker, by name, a mark that is another one after each change of its row or its blocks."""
    return {row["id"]: row["version"] for row in ledger.all("workers_versions")}


def found(ledger: Ledger, ids: Collection[WorkerId]) -> list[Worker]:
    """Those of these workers that are registered."""
    return [worker_of(row) for row in ledger.all("workers_found", ids=list(ids))] if ids else []


def renewed(ledger: Ledger, former: Rows) -> dict[WorkerId, tuple[str, Worker]]:
    """Every registered worker by name, with its version; only those are read that have changed since `former`."""
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
    """Seconds since the incarnation of each of these began, which stop when it is down or has left."""
    return {row["id"]: row["seconds"] for row in ledger.all("workers_uptimes", workers=list(workers))}


def identity_of(offer: Offer) -> str:
    """What makes a re-join the same worker: machine id and GPU UUIDs, or its name where there is no GPU."""
    cards = sorted(gpu.uuid for gpu in offer.gpus) or [f"name {offer.name}"]
    return hashlib.sha256("\n".join([offer.machine_id, *cards]).encode()).hexdigest()


def by_identity(ledger: Ledger, identity: str) -> Worker | None:
    """The present worker of this identity, or None."""
    row = ledger.one("worker_by_identity", identity=identity)
    return worker_of(row) if row else None


def begin_join(
    ledger: Ledger, worker: WorkerId | None, offer: Offer, token_sha256: str, admitted_by: str | None = None
) -> Join:
    """A join with the next incarnation of this worker, or of a new one."""
    row = ledger.one(
        "join_begin",
        id=new_id(),
        worker=worker or new_id(),
        identity=identity_of(offer),
        nonce=secrets.token_hex(16),
        answer=secrets.token_hex(16),
        offer=Jsonb(plain(offer)),
        token_sha256=token_sha256,
        admitted_by=admitted_by,
    )
    assert row is not None
    return _join({**row, "age_s": 0.0})


def find_join(ledger: Ledger, join: str) -> Join | None:
    """The join, or None."""
    row = ledger.one("join_find", id=join)
    return _join(row) if row else None


def confirm_join(ledger: Ledger, join: Join) -> Worker | None:
    """Make it a worker's present incarnation; None when a newer one was confirmed meanwhile.

    One transaction: worker, transition, the join's mark, older tokens of the worker revoked.
    """
    with ledger.transaction() as tx:
        before = tx.one("worker_find", id=join.worker)
        row = tx.one("worker_join", **_join_parameters(join))
        if row is None:
            return None
        tx.do("join_confirmed", id=join.id)
        _joined(tx, join, Health(before["health"]) if before else None)
        tx.do("tokens_revoke_of_worker", worker=join.worker, keep=join.token_sha256)
        tx.do(
            "token_create",
            id=new_id(),
            kind="agent",
            owner=join.offer.name,
            sha256=join.token_sha256,
            worker=join.worker,
            uses=None,
            expires_at=None,
        )
        return worker_of(row)


def _joined(tx: Ledger, join: Join, before: Health | None) -> None:
    cause = "joined" if before is None else f"joined anew as incarnation {join.incarnation}"
    row = tx.one(
        "worker_transition",
        worker=join.worker,
        incarnation=join.incarnation,
        from_health=before,
        to_health=str(Health.HEALTHY),
        cause=cause,
    )
    assert row is not None
    news.health(tx, join.worker, join.offer.name, row["id"], before, Health.HEALTHY, cause)


def set_health(
    ledger: Ledger, worker: Worker, to: Health, cause: str, status: str, degraded_as: Degraded | None = None
) -> bool:
    """Move its health from what `worker` says, with a transition, and tell people; False when it had moved already.

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


@dataclass(frozen=True)
class Moved:
    """A worker whose intent was moved; of a pause also its end."""

    id: WorkerId
    name: str
    until: datetime | None


def set_intents(
    ledger: Ledger,
    workers: Sequence[WorkerId],
    to: Intent,
    *,
    until: datetime | None = None,
    for_s: float | None = None,
    by: str | None = None,
    note: str | None = None,
) -> list[Moved]:
    """Pause workers, also paused ones until another time, or let the paused ones among them go on; returns whom."""
    rows = ledger.all(
        "workers_set_intent",
        workers=list(workers),
        to_intent=str(to),
        until=until,
        for_s=for_s,
        by=by,
        note=note,
    )
    return [Moved(row["id"], row["name"], row["paused_until"]) for row in rows]


def intents(ledger: Ledger, workers: Sequence[WorkerId]) -> dict[WorkerId, tuple[str, Intent]]:
    """The name and the intent of those of these workers that are registered."""
    rows = ledger.all("workers_intents", workers=list(workers))
    return {row["id"]: (row["name"], Intent(row["intent"])) for row in rows}


def note(ledger: Ledger, notes: Iterable[Note]) -> None:
    """Write status, dynamic tags and, of those that beat, the time of the last heartbeat."""
    rows = [plain(each) for each in notes]
    if rows:
        ledger.do("workers_note", notes=Jsonb(rows))


def sample(ledger: Ledger, samples: Iterable[Mapping[str, Json]]) -> None:
    """Keep these figures as this minute's; a second leader's for the same minute are passed over.

    Each has: worker; load, utilisation, vram_used (0 to 1, None where unknown); temperature_c of its hottest card;
    power_w of all its cards; attempts, how many it had; figures, with cpu, gpus and the load's parts.
    """
    ledger.do_many("worker_sample", [{**each, "figures": Jsonb(each.get("figures", {}))} for each in samples])


def samples(ledger: Ledger, worker: WorkerId, seconds: float) -> list[Row]:
    """The worker's samples of the last so many seconds, oldest first, one a minute.

    Columns: worker_id; at; load, utilisation, vram_used (0 to 1); temperature_c (of the hottest card); power_w (of all
    cards); attempts; figures, the JSON with cpu, gpus and the load's parts. A figure that nobody measured is None.
    """
    return ledger.all("worker_samples_between", worker=worker, seconds=seconds)


def series(ledger: Ledger, worker: WorkerId, begin: datetime, until: datetime, step_s: int) -> list[Row]:
    """The means of its samples over steps of so many seconds, oldest first: at, score, the load's parts, jobs, gpus."""
    return ledger.all("worker_series", worker=worker, begin=begin, until=until, step_s=step_s)


def transitions(ledger: Ledger, worker: WorkerId, before: int | None = None, limit: int = 50) -> list[Transition]:
    """Changes of its health, newest first."""
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


def _join(row: Row) -> Join:
    return Join(
        row["id"],
        row["worker_id"],
        row["incarnation"],
        row["identity"],
        row["nonce"],
        row["answer"],
        from_plain(Offer, row["offer"]),
        row["token_sha256"],
        row["admitted_by"],
        row["age_s"],
        row["confirmed_at"] is not None,
    )


def _join_parameters(join: Join) -> Row:
    offer = join.offer
    models = sorted({gpu.model for gpu in offer.gpus})
    return {
        "id": join.worker,
        "identity": join.identity,
        "name": offer.name,
        "hostname": offer.hostname,
        "host_id": offer.machine_id,
        "boot_id": offer.boot_id,
        "address": offer.address,
        "port": offer.port,
        "pid": offer.pid,
        "version": offer.version,
        "driver": offer.driver,
        "gpus": Jsonb(plain(offer.gpus)),
        "gpu_model": ", ".join(models) or None,
        "gpu_reason": offer.gpu_reason,
        "vram_mb": sum(gpu.vram_mb for gpu in offer.gpus) or None,
        "workflows": Jsonb(plain(offer.workflows)),
        "not_offered": Jsonb(offer.not_offered),
        "slots": offer.slots,
        "incarnation": join.incarnation,
    }


def worker_of(row: Row) -> Worker:
    """A worker from its row."""
    return Worker(
        id=row["id"],
        name=row["name"],
        hostname=row["hostname"],
        host_id=row["host_id"],
        boot_id=row["boot_id"],
        incarnation=row["incarnation"],
        health=Health(row["health"]),
        intent=Intent(row["intent"]),
        slots=row["slots_wanted"] or row["slots"],
        slots_offered=row["slots"],
        slots_wanted=row["slots_wanted"],
        address=row["address"],
        port=row["port"],
        gpus=from_plain(tuple[Gpu, ...], row["gpus"]),
        gpu_model=row["gpu_model"],
        gpu_reason=row["gpu_reason"],
        vram_mb=row["vram_mb"],
        workflows=from_plain(tuple[Workflow, ...], row["workflows"]),
        not_offered=row["not_offered"],
        blocked=row.get("blocked") or {},
        allowed_workflows=tuple(row["allowed_workflows"]),
        tags=tuple(row["tags"]),
        dynamic_tags=tuple(row["dynamic_tags"]),
        groups=tuple(row["groups"]),
        queue_depth=row["queue_depth"],
        restart=row["restart"],
        paused_until=row["paused_until"],
        paused_by=row["paused_by"],
        paused_note=row["paused_note"],
        revision=row["revision"],
        reason=row["reason"],
        degraded_as=row["degraded_as"],
        version=row["version"],
        driver=row["driver"],
        pid=row["pid"],
        last_heartbeat=row["last_heartbeat"],
        joined_at=row["joined_at"],
        created_at=row["created_at"],
    )
