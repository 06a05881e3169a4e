"""Workers as the API shows them: what the ledger holds, with beat, leases and score from Redis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from pydantic import BaseModel

from app.pool.capacity import slots
from app.pool.live import Live, LiveBeat
from app.pool.load import Load, Parts, means, measured
from app.pool.matching import offered
from app.pool.model import Gpu, Health, Intent, JobId, Worker, WorkerId
from app.pool.protocol import GpuFigures, Lease, LeaseState
from app.pool.status import WorkerStatus, pause_words, worker_status


class MemoryAnswer(BaseModel):
    """A card's memory in MiB."""

    ours: int | None
    others: int | None
    free: int | None


class GpuAnswer(BaseModel):
    """A card, with what it does now."""

    uuid: str
    index: int
    model: str
    vram_mb: int
    utilisation: float | None
    memory: MemoryAnswer
    temperature_c: int | None
    power_w: float | None
    reason: str | None


class LoadAnswer(BaseModel):
    """The parts of a load score, each 0 to 1; null where nobody could measure one.

    `means` has what such a part counts as instead: the mean of comparable workers.
    """

    utilisation: float | None = None
    queue: float | None = None
    vram: float | None = None
    means: dict[str, float] = {}


class WorkerAnswer(BaseModel):
    """A worker."""

    id: str
    name: str
    hostname: str
    address: str | None
    port: int | None
    gpu_model: str | None
    vram_mb: int | None
    gpus: list[GpuAnswer]
    gpu_reason: str | None
    driver: str | None  # of its GPUs, the version; null where there is none
    workflows: list[str]  # that it takes: those that its agent offers, narrowed by an admin
    offered_workflows: list[str]
    allowed_workflows: list[str]  # an admin's narrowing, PATCH's `workflows`; empty narrows nothing
    not_offered: dict[str, str]
    blocked: dict[str, str]  # workflow that fails here alone -> until when, and why
    tags: list[str]
    dynamic_tags: list[str]
    groups: list[str]
    slots: int  # an admin's word, else what its agent offers
    slots_wanted: int | None  # an admin's word, PATCH's `slots`
    slots_offered: int
    slots_started: int | None  # that could run something, now or when what they run has ended; null without heartbeat
    queue_depth: int | None  # null: the pool's
    status: WorkerStatus
    reason: str | None
    health: Health
    intent: Intent
    paused_by: str | None
    paused_until: datetime | None
    paused_note: str | None
    score: float | None
    load: LoadAnswer
    jobs: int
    queued: int
    pid: int | None
    incarnation: int
    version: str
    last_heartbeat: datetime | None
    heartbeat_age_s: float | None
    uptime_s: float | None
    investigation: str | None
    created_at: datetime


class WorkerList(BaseModel):
    """A page of the workers, by name."""

    items: list[WorkerAnswer]
    next: str | None


LeasesByJob = Mapping[JobId, Lease]


def worker_answers(
    workers: Sequence[Worker], live: Live, uptimes_s: Mapping[WorkerId, float], investigations: Mapping[WorkerId, str]
) -> list[WorkerAnswer]:
    """The workers with what is live of them now, and the open investigation of each.

    Raises redis.RedisError when Redis is away.
    """
    ids = [worker.id for worker in workers]
    beats, leases, loads = live.beats(ids), live.leases_of(ids), live.loads(ids)
    return [
        _answer(
            w,
            _own(w, beats.get(w.id)),
            leases.get(w.id, {}),
            loads.get(w.id),
            uptimes_s.get(w.id),
            investigations.get(w.id),
        )
        for w in workers
    ]


def _own(worker: Worker, beat: LiveBeat | None) -> LiveBeat | None:
    # A former incarnation's beat may still be in Redis; it says nothing of the present one.
    return beat if beat and beat.beat.incarnation == worker.incarnation else None


def _answer(
    worker: Worker,
    live: LiveBeat | None,
    leases: LeasesByJob,
    load: Load | None,
    uptime_s: float | None,
    investigation: str | None,
) -> WorkerAnswer:
    return WorkerAnswer(
        **_stored(worker),
        gpus=_gpus(worker.gpus, live),
        gpu_reason=live.beat.gpu_reason if live else worker.gpu_reason,
        slots_started=slots(worker, live.beat) if live else None,
        status=worker_status(worker, live is not None),
        reason=_reason(worker, live),
        score=load.score if live and load else None,
        load=load_answer(load.parts) if live and load else LoadAnswer(),
        jobs=_count(leases, LeaseState.CLAIMED),
        queued=_count(leases, LeaseState.GIVEN),
        dynamic_tags=sorted(live.beat.tags if live else worker.dynamic_tags),
        last_heartbeat=_heard(worker, live),
        heartbeat_age_s=round(live.age_s, 3) if live else None,
        uptime_s=uptime_s,
        investigation=investigation,
    )


SAME = (
    *("id", "name", "hostname", "address", "port", "gpu_model", "vram_mb", "driver", "slots", "health", "intent"),
    *("pid", "incarnation", "version", "created_at", "slots_wanted", "slots_offered", "queue_depth"),
    *("paused_by", "paused_until", "paused_note"),
)


def _stored(worker: Worker) -> dict[str, Any]:
    return {
        **{name: getattr(worker, name) for name in SAME},
        "workflows": sorted(w.name for w in worker.workflows if offered(worker, w.name)),
        "offered_workflows": sorted(workflow.name for workflow in worker.workflows),
        "allowed_workflows": sorted(worker.allowed_workflows),
        "not_offered": dict(worker.not_offered),
        "blocked": dict(worker.blocked),
        "tags": list(worker.tags),
        "groups": list(worker.groups),
    }


def _reason(worker: Worker, live: LiveBeat | None) -> str | None:
    if worker.health is not Health.HEALTHY:
        return worker.reason
    if live is None:
        return "its heartbeat has stopped"
    return pause_words(worker) or worker.reason


def _heard(worker: Worker, live: LiveBeat | None) -> datetime | None:
    # Redis measured the age; this process's clock only turns it into a time for people.
    return datetime.now(timezone.utc) - timedelta(seconds=live.age_s) if live else worker.last_heartbeat


def _count(leases: LeasesByJob, state: LeaseState) -> int:
    return sum(lease.state is state for lease in leases.values())


def _gpus(gpus: Iterable[Gpu], live: LiveBeat | None) -> list[GpuAnswer]:
    figures = {figure.uuid: figure for figure in live.beat.gpus} if live else {}
    return [_gpu(gpu, figures.get(gpu.uuid, GpuFigures(gpu.uuid, gpu.index))) for gpu in gpus]


def _gpu(gpu: Gpu, now: GpuFigures) -> GpuAnswer:
    return GpuAnswer(
        uuid=gpu.uuid,
        index=gpu.index,
        model=gpu.model,
        vram_mb=gpu.vram_mb,
        utilisation=now.utilisation,
        memory=MemoryAnswer(ours=now.memory.ours, others=now.memory.others, free=now.memory.free),
        temperature_c=now.temperature_c,
        power_w=now.power_w,
        reason=now.reason,
    )


def load_answer(parts: Parts) -> LoadAnswer:
    """The load's parts, as the coordinator wrote them with the score."""
    return LoadAnswer(**measured(parts), means=means(parts))
