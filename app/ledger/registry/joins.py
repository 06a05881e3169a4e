"""Joins: an agent's way into the registry. Nothing of a join is registered until it is confirmed."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from app.ledger import news
from app.ledger.db import Ledger, Row
from app.ledger.registry.workers import worker_of
from app.pool.agent_http import Offer
from app.pool.codec import from_plain, plain
from app.pool.model import Health, Worker, WorkerId, new_id


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


def identity_of(offer: Offer) -> str:
    """A hash that makes a re-join the same worker: of machine id and GPU UUIDs, or the name where there is no GPU.

    The agent's own hash, `identify` in agent/join/identity.py, differs without a GPU: it also holds the pool, since a
    host's agents of several pools must not take one another for themselves.
    """
    cards = sorted(gpu.uuid for gpu in offer.gpus) or [f"name {offer.name}"]
    return hashlib.sha256("\n".join([offer.machine_id, *cards]).encode()).hexdigest()


def by_identity(ledger: Ledger, identity: str) -> Worker | None:
    """The present worker of this identity, or None."""
    row = ledger.one("worker_by_identity", identity=identity)
    return worker_of(row) if row else None


def begin(
    ledger: Ledger, worker: WorkerId | None, offer: Offer, token_sha256: str, admitted_by: str | None = None
) -> Join:
    """A new join, with the next incarnation of this worker, or of a new one. Raises Unavailable."""
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


def find(ledger: Ledger, join: str) -> Join | None:
    """The join, or None."""
    row = ledger.one("join_find", id=join)
    return _join(row) if row else None


def confirm(ledger: Ledger, join: Join) -> Worker | None:
    """Make the join a worker's present incarnation; None when a newer one was confirmed meanwhile.

    One transaction writes worker, transition and the join's mark, and revokes older tokens of the worker.
    Raises Unavailable; the confirmation may be repeated.
    """
    with ledger.transaction() as tx:
        # Or a leader that calls it down meanwhile would write a transition between what is read here and ours.
        tx.one("worker_lock", worker=join.worker)
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


def forget(ledger: Ledger) -> int:
    """Forget old joins, but none whose incarnation is above its worker's, so that no number comes twice."""
    return ledger.do("joins_forget")


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
