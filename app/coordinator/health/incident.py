"""Incidents: what is known of a worker at the moment when it fails, written down for the person who looks into it."""

from __future__ import annotations

from datetime import datetime

from app.ledger import evidence, investigations
from app.ledger.db import Ledger
from app.ledger.investigations import SuspectedCause
from app.pool.model import Worker
from app.pool.protocol import Beat

RECENT_S = 300


def begin(
    tx: Ledger, worker: Worker, beat: Beat | None, why: str, silence_s: float, *, proven: bool, reached: bool
) -> None:
    """Open an investigation with the evidence, in the transaction of the change; one that is open stays as it is.

    `why` is the sentence of its health, `silence_s` the seconds since it was last heard of, `proven` whether its death
    was proven. `reached`: it answered a call on its address while nothing of it came through Redis.
    """
    facts = evidence.gathered(tx, worker.id, why, beat)
    memory = any(end["oom_killed"] and _recent(end["ended_at"]) for end in facts["ends"])
    cause = suspect(worker, beat, memory=memory, proven=proven, reached=reached)
    investigations.begin(tx, worker.id, worker.incarnation, cause, facts, silence_s)


def suspect(worker: Worker, beat: Beat | None, *, memory: bool, proven: bool, reached: bool) -> SuspectedCause:
    """The likeliest cause, from the most telling to the least."""
    if beat is not None and worker.gpus and worker.gpu_reason is None and _fell_off(worker, beat):
        return SuspectedCause.GPU_FELL_OFF
    if memory:
        return SuspectedCause.OUT_OF_MEMORY
    if proven:
        return SuspectedCause.PROCESS_KILLED
    return SuspectedCause.REDIS_UNREACHABLE if reached else SuspectedCause.HOST_SILENT


def _fell_off(worker: Worker, beat: Beat) -> bool:
    """True when a card that was there at the join no longer answers."""
    seen = {gpu.uuid for gpu in beat.gpus if gpu.reason is None}
    return beat.gpu_reason is not None or any(gpu.uuid not in seen for gpu in worker.gpus)


def _recent(at: str | None) -> bool:
    return at is not None and (datetime.now().astimezone() - datetime.fromisoformat(at)).total_seconds() < RECENT_S
