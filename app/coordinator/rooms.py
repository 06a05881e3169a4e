"""A worker's room: what the scripts need to know to place jobs on it and to compute its load. Pure.

load = w_gpu·utilisation + w_queue·held/slots + w_vram·(1 − free/total), from 0 (idle) to 1 (full).
A part that nobody could measure on a worker takes the mean of those that have it, never 0; one that
no worker has is left out and the others weigh more.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.pool.matching import offered, refusal, takes_jobs
from app.pool.model import Health, Requirement, Worker
from app.pool.protocol import Beat

W_GPU, W_QUEUE, W_VRAM = 0.4, 0.4, 0.2
JITTER = 0.001  # so that ties do not all go to the first name
STEPS = 50  # shares are rounded to a fiftieth: a smaller change is not worth a write
OTHERS_MB = 64  # and foreign memory to so many MiB, for the same reason


@dataclass(frozen=True)
class Means:
    """The mean utilisation and share of VRAM in use over the workers where they are measured."""

    utilisation: float | None
    vram: float | None


def means(beats: Iterable[Beat]) -> Means:
    """Over all beats that have the figure; None where none has."""
    found = list(beats)
    return Means(_mean(map(utilisation, found)), _mean(map(vram_used, found)))


def utilisation(beat: Beat) -> float | None:
    """Mean over the worker's GPUs that say it."""
    return _mean(gpu.utilisation for gpu in beat.gpus)


def vram_used(beat: Beat) -> float | None:
    """The share of its cards' memory that is in use by anybody; None where it is not measured."""
    known = [gpu for gpu in beat.gpus if gpu.vram_mb and gpu.memory.free is not None]
    total = sum(gpu.vram_mb or 0 for gpu in known)
    return 1 - sum(gpu.memory.free or 0 for gpu in known) / total if total else None


def places(worker: Worker, beat: Beat | None) -> bool:
    """Whether new attempts may be given to this worker now, room permitting."""
    healthy = worker.health is Health.HEALTHY and takes_jobs(worker)
    return healthy and beat is not None and not beat.leaving


def room(
    worker: Worker, beat: Beat, classes: Mapping[str, Requirement], queue_depth: int, mean: Means, jitter: float
) -> str:
    """The room of a live worker as settle.lua reads it; no classes when it may not be given anything."""
    gpu_weight, queue_weight, vram_weight = _weights(mean)
    total = sum(gpu.vram_mb for gpu in worker.gpus)
    per_mb = vram_weight / total if total else 0.0
    others = _others(beat)
    used = utilisation(beat)
    base = gpu_weight * _rounded(mean.utilisation if used is None else used)
    base += vram_weight * _rounded(mean.vram) if vram_used(beat) is None else per_mb * sum(others.values())
    slots = max(1, min(worker.slots, beat.slots))
    facts = {
        "incarnation": worker.incarnation,
        "capacity": slots + (queue_depth if worker.queue_depth is None else worker.queue_depth),
        "base": round(base, 4) + jitter,
        "per_held": queue_weight / slots,
        "per_mb": per_mb,
        "gpus": [[gpu.uuid, gpu.vram_mb - others.get(gpu.uuid, 0)] for gpu in worker.gpus],
        "classes": _classes(worker, classes) if places(worker, beat) else {},
    }
    return json.dumps(facts, separators=(",", ":"))


def new_jitter() -> float:
    """A worker's tiny addition to its load."""
    return random.uniform(0, JITTER)


def _classes(worker: Worker, classes: Mapping[str, Requirement]) -> dict[str, int]:
    return {name: _need(worker, wish) for name, wish in classes.items() if refusal(worker, wish) is None}


def _need(worker: Worker, requirement: Requirement) -> int:
    if requirement.min_vram_mb is not None:
        return requirement.min_vram_mb
    declared = offered(worker, requirement.workflow)
    return (declared.vram_mb or 0) if declared else 0


def _weights(mean: Means) -> tuple[float, float, float]:
    gpu = 0.0 if mean.utilisation is None else W_GPU
    vram = 0.0 if mean.vram is None else W_VRAM
    whole = gpu + W_QUEUE + vram
    return gpu / whole, W_QUEUE / whole, vram / whole


def _others(beat: Beat) -> dict[str, int]:
    """MiB that foreign processes use, by GPU, rounded up; a GPU where it is not measured has none."""
    return {gpu.uuid: -(-gpu.memory.others // OTHERS_MB) * OTHERS_MB for gpu in beat.gpus if gpu.memory.others}


def _rounded(share: float | None) -> float:
    return round((share or 0.0) * STEPS) / STEPS


def _mean(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known else None
