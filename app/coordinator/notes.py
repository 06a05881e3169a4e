"""What is written of each worker once a minute: its status, its last heartbeat, a sample of its figures."""

from __future__ import annotations

import time
from typing import Any

from app.coordinator.fleet import Fleet
from app.coordinator.health import HealthJudge
from app.coordinator.rooms import utilisation, vram_used
from app.coordinator.stores import Stores
from app.ledger import workers
from app.ledger.workers import Note
from app.pool.load import Load, measured
from app.pool.model import Worker, WorkerId
from app.pool.protocol import Beat, plain
from app.pool.status import worker_status

MINUTE_S = 60.0


class Notes:
    """Writes once a minute; the first time when a leader begins."""

    def __init__(self, stores: Stores, fleet: Fleet, health: HealthJudge) -> None:
        self._stores = stores
        self._fleet = fleet
        self._health = health
        self._due = time.monotonic()

    def step(self) -> None:
        """Write notes and samples when a minute has passed."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + MINUTE_S
        workers.note(self._stores.ledger, [self._note(worker) for worker in self._fleet.workers.values()])
        loads = self._stores.live.loads(list(self._fleet.beats))
        workers.sample(self._stores.ledger, [_sample(beat, loads) for beat in self._fleet.beats.values()])

    def _note(self, worker: Worker) -> Note:
        beating = self._health.is_beating(worker.id)
        return Note(worker.id, worker_status(worker, beating), worker.dynamic_tags, beating)


def _sample(beat: Beat, loads: dict[WorkerId, Load]) -> dict[str, Any]:
    load = loads.get(beat.worker)
    return {
        "worker": beat.worker,
        "load": load and load.score,
        "utilisation": utilisation(beat),
        "vram_used": vram_used(beat),
        "temperature_c": max((gpu.temperature_c for gpu in beat.gpus if gpu.temperature_c is not None), default=None),
        "power_w": _sum([gpu.power_w for gpu in beat.gpus]),
        "attempts": len(beat.attempts),
        "figures": {"cpu": beat.cpu, "gpus": plain(beat.gpus), "load": load and measured(load.parts)},
    }


def _sum(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None
