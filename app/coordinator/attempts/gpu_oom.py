"""GPU out of memory: what an attempt had of its card, and whether a larger card exists, when its end arrives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.ledger import jobs
from app.ledger.failures import Shortage
from app.ledger.reports import Shortages
from app.pool.capacity import foreign_mb
from app.pool.model import JobId, Worker
from app.pool.protocol import Beat, Cause, Lease, LeaseState, Report


def shortages(stores: Stores, fleet: Fleet, reports: Iterable[Report]) -> Shortages:
    """The shortage of each attempt that ends for want of GPU memory. Raises RedisError, Unavailable."""
    short = [each for each in reports if each.kind == "end" and each.end == "failed" and each.cause == Cause.GPU_MEMORY]
    return {(each.job, each.attempt): _shortage(stores, fleet, each) for each in short}


def had_mb(worker: Worker, beat: Beat | None, leases: Mapping[JobId, Lease], job: JobId) -> int | None:
    """The MiB of its card that no foreign process and no other attempt had taken.

    Of several cards the largest figure counts; where its lease names no card, all of the worker's do; None without
    any card. Where nobody could measure, a card counts whole.
    """
    own = leases.get(job)
    cards = [gpu for gpu in worker.gpus if own is None or not own.gpus or gpu.uuid in own.gpus]
    others = foreign_mb(worker, beat) if beat else {}
    free = [gpu.vram_mb - others.get(gpu.uuid, 0) - _reserved(gpu.uuid, leases, job) for gpu in cards]
    return max(0, *free) if free else None


def _shortage(stores: Stores, fleet: Fleet, report: Report) -> Shortage:
    job = jobs.find(stores.ledger, JobId(report.job or ""))
    worker = fleet.workers.get(report.worker)
    if job is None or worker is None:
        return Shortage(None, larger=False)
    leases = stores.live.leases(report.worker)
    had = had_mb(worker, fleet.beats.get(report.worker), leases, job.id)
    above = replace(job.spec.requirement, above_vram_mb=had)
    return Shortage(had, larger=had is not None and fleet.healthy_fits(above))


def _reserved(uuid: str, leases: Mapping[JobId, Lease], job: JobId) -> int:
    """The MiB of this card that attempts of other jobs hold."""
    held = (each for other, each in leases.items() if other != job and each.state is not LeaseState.ENDED)
    return sum(each.vram_mb for each in held if uuid in each.gpus)
