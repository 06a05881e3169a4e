"""A worker's headroom: what the scripts need to know to place jobs on it and to compute its load. Pure.

load = w_gpu·utilisation + w_queue·held/slots + w_vram·(memory in use), from 0 (idle) to 1 (full); the
scripts compute it, since only they know what is held. A part that nobody could measure on a worker
takes the mean of comparable ones, never 0; one that no worker has is left out and the others weigh more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.coordinator.placement.index_plan import Membership
from app.pool.capacity import Use, depth, most_of_others_mb, slots, uses
from app.pool.load import mean, utilisation, vram_used
from app.pool.model import Worker, WorkerId
from app.pool.policy import Policy
from app.pool.protocol import Beat

STEPS = 50  # shares are rounded to a fiftieth: a smaller change is not worth a write


@dataclass(frozen=True)
class Mean:
    """The mean share in use of the cards and of their memory; None where nobody measures it."""

    utilisation: float | None = None
    vram: float | None = None


@dataclass(frozen=True)
class Means:
    """Over all live workers, and over those with the same model of GPU."""

    of_all: Mean = Mean()
    by_model: Mapping[str | None, Mean] = field(default_factory=dict)

    def like(self, worker: Worker) -> Mean:
        """That of comparable workers, and where none of them has a figure, of all that have it."""
        near = self.by_model.get(worker.gpu_model, Mean())
        return Mean(
            self.of_all.utilisation if near.utilisation is None else near.utilisation,
            self.of_all.vram if near.vram is None else near.vram,
        )


def means(workers: Mapping[WorkerId, Worker], beats: Iterable[Beat]) -> Means:
    """From the newest beats of these workers."""
    by_model: dict[str | None, list[Beat]] = {}
    for beat in beats:
        if beat.worker in workers:
            by_model.setdefault(workers[beat.worker].gpu_model, []).append(beat)
    everybody = [beat for some in by_model.values() for beat in some]
    return Means(_mean_of(everybody), {model: _mean_of(some) for model, some in by_model.items()})


def headroom(worker: Worker, beat: Beat, sets: Sequence[Membership], policy: Policy, found: Means) -> str:
    """The headroom of a live worker as settle.lua reads it; no sets when it may not be given anything."""
    like, busy, used = found.like(worker), utilisation(beat), uses(worker, beat)
    facts: dict[str, Any] = {
        "incarnation": worker.incarnation,
        "slots": slots(worker, beat),
        "capacity": slots(worker, beat) + depth(worker, policy),
        "weights": _weights(found.of_all, policy),
        "gpu": like.utilisation if busy is None else _rounded(busy),
        "gpu_mean": True if busy is None else None,
        "vram": None if any(used.values()) else like.vram,
        "reserve": policy.vram_reserve_mb,
        "cards": [
            [gpu.uuid, gpu.vram_mb, *_use(used[gpu.uuid]), most_of_others_mb(gpu.vram_mb, policy)]
            for gpu in worker.gpus
        ],
        "sets": [[s.name, s.needs.slots, s.needs.cards, s.needs.least_mb, s.order, s.offset] for s in sets],
    }
    # Null is something in Lua; what is not there is nil.
    return json.dumps({name: value for name, value in facts.items() if value is not None}, separators=(",", ":"))


def _weights(everybody: Mean, policy: Policy) -> list[float]:
    """Of the three parts, together 1; a part that no worker has weighs nothing."""
    gpu = 0.0 if everybody.utilisation is None else policy.w_gpu
    vram = 0.0 if everybody.vram is None else policy.w_vram
    whole = gpu + policy.w_queue + vram
    # All weight may lie on what nobody measures: then jobs held are all that is known.
    return [gpu / whole, policy.w_queue / whole, vram / whole] if whole else [0.0, 1.0, 0.0]


def _use(measured: Use | None) -> tuple[int, int]:
    if measured is None:
        return 0, -2
    return measured.others_mb, -1 if measured.ours_mb is None else measured.ours_mb


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share * STEPS) / STEPS


def _mean_of(beats: Sequence[Beat]) -> Mean:
    return Mean(_rounded(mean(map(utilisation, beats))), _rounded(mean(map(vram_used, beats))))
