"""The fleet as its table shows it. Figures are rounded, so that a change which nobody can see sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.actions.services import Services
from app.ledger import investigations
from app.ledger.holds import Hold
from app.ledger.registry import fleet
from app.ledger.registry.fleet import HeldJob
from app.ledger.registry.samples import MinuteSample
from app.ledger.registry.workers import Rows
from app.pool.load import mean
from app.pool.model import Worker, WorkerId
from app.pool.status import WorkerStatus
from app.web.pages import sparkline
from app.web.shapes.worker_answers import GpuAnswer, WorkerAnswer, worker_answers

SPARK_S = 600
HEARD_JITTER = timedelta(seconds=1.5)


@dataclass(frozen=True)
class CardRow:
    """A GPU as the table shows it; memory in MiB, None where nobody could measure."""

    index: int
    model: str
    vram_mb: int
    percent: int | None
    temperature_c: int | None
    power_w: int | None
    ours: int | None
    others: int | None
    free: int | None
    reason: str | None


@dataclass(frozen=True)
class JobCell:
    """A job that a worker has."""

    id: str
    name: str
    starting: bool
    percent: int
    text: str
    since: datetime


@dataclass(frozen=True)
class WorkerRow:
    """A worker."""

    id: str
    name: str
    hostname: str
    version: str
    status: WorkerStatus
    reason: str | None
    slots: int
    started: int | None  # of the slots; None without heartbeat
    jobs: tuple[JobCell, ...]
    idle_since: datetime | None
    cards: tuple[CardRow, ...]
    percent: int | None  # of its cards together; of the host's CPUs where it has none
    spark: sparkline.Spark
    tags: tuple[str, ...]
    groups: tuple[str, ...]
    heard: datetime | None
    began: datetime | None  # of the present incarnation; None once it is down or has left
    investigation: str | None = None  # the open one
    blocked: tuple[tuple[str, str], ...] = ()  # workflows, until when and why


@dataclass(frozen=True)
class FleetRows:
    """The rows of all workers by name, how many jobs wait, and the workflows on hold."""

    rows: tuple[WorkerRow, ...]
    jobs_waiting: int
    registered: Rows  # as the ledger had them
    warning: str | None  # a shortage that people should end before it hurts
    holds: tuple[Hold, ...]


def rows(
    services: Services,
    registered: Sequence[Worker],
    samples: Mapping[WorkerId, Sequence[MinuteSample]],
    former: Mapping[str, WorkerRow],
) -> tuple[WorkerRow, ...]:
    """The rows of these workers now; `former` rows keep times from trembling. Raises Unavailable, RedisError."""
    ids = [worker.id for worker in registered]
    shown = worker_answers(registered, services.live, {}, investigations.open_of(services.ledger, ids))
    held = fleet.jobs_held(services.ledger, ids)
    idle = fleet.idle_since(services.ledger, ids)
    return tuple(
        row(worker, answer, held.get(worker.id, []), idle.get(worker.id), samples.get(worker.id, []), former)
        for worker, answer in zip(registered, shown, strict=True)
    )


def row(
    worker: Worker,
    now: WorkerAnswer,
    held: Sequence[HeldJob],
    idle_since: datetime | None,
    samples: Sequence[MinuteSample],
    former: Mapping[str, WorkerRow],
) -> WorkerRow:
    """The row of one worker now."""
    return WorkerRow(
        id=worker.id,
        name=worker.name,
        hostname=worker.hostname,
        version=worker.version,
        status=now.status,
        reason=now.reason,
        slots=worker.slots,
        started=now.slots_started,
        jobs=tuple(_job(job) for job in held),
        idle_since=idle_since or worker.joined_at,
        cards=tuple(_card(gpu) for gpu in now.gpus),
        percent=percent(use(now)),
        spark=sparkline.draw(samples, use(now), SPARK_S),
        tags=tuple(sorted({*worker.tags, *now.dynamic_tags})),
        groups=worker.groups,
        heard=_steady(now.last_heartbeat, former.get(worker.id)),
        began=None if now.status.is_gone else worker.joined_at,
        investigation=now.investigation,
        blocked=tuple(sorted(now.blocked.items())),
    )


def use(now: WorkerAnswer) -> float | None:
    """The mean use of the worker's cards, 0 to 1; of its host's CPUs where it has no card; None if unmeasured."""
    return mean(gpu.utilisation for gpu in now.gpus) if now.gpus else now.load.utilisation


def _steady(heard: datetime | None, former: WorkerRow | None) -> datetime | None:
    """The former time of the last heartbeat while it is the same beat: its age is measured anew each time."""
    if heard and former and former.heard and abs(heard - former.heard) < HEARD_JITTER:
        return former.heard
    return heard and heard.replace(microsecond=0)


def _job(job: HeldJob) -> JobCell:
    starting = job.state == "assigned"
    return JobCell(job.id, job.name or job.workflow, starting, int(100 * job.progress), job.text, job.since)


def _card(gpu: GpuAnswer) -> CardRow:
    return CardRow(
        index=gpu.index,
        model=gpu.model,
        vram_mb=gpu.vram_mb,
        percent=percent(gpu.utilisation),
        temperature_c=gpu.temperature_c,
        power_w=None if gpu.power_w is None else round(gpu.power_w),
        ours=_coarse(gpu.memory.ours),
        others=_coarse(gpu.memory.others),
        free=_coarse(gpu.memory.free),
        reason=gpu.reason,
    )


def percent(fraction: float | None) -> int | None:
    """A fraction as whole percent; None where nobody could measure."""
    return None if fraction is None else round(100 * fraction)


def _coarse(mebibytes: int | None) -> int | None:
    return None if mebibytes is None else round(mebibytes / 102.4) * 1024 // 10
