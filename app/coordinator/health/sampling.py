"""What is written of each worker once a minute: its status, its last heartbeat, a sample of its figures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from app.coordinator.fleet import Fleet
from app.coordinator.health.verdicts import HealthMonitor
from app.coordinator.stores import Stores
from app.ledger.registry import samples, workers
from app.ledger.registry.workers import Note
from app.pool.codec import plain
from app.pool.load import Load, measured, utilisation, vram_used
from app.pool.model import Worker, WorkerId
from app.pool.protocol import Beat
from app.pool.status import worker_status

MINUTE_S = 60.0
AT_ONCE = 200  # between two other decisions: some hundredths of a second


class Sampling:
    """Writes each worker's once a minute, of a large fleet some at a time; the first time when a leader begins."""

    def __init__(self, stores: Stores, fleet: Fleet, health: HealthMonitor) -> None:
        self._stores = stores
        self._fleet = fleet
        self._health = health
        self._due = time.monotonic()
        self._left: list[WorkerId] = []

    def step(self) -> None:
        """Write some notes and samples when a minute has passed, or when some of this minute's are left."""
        if not self._left and time.monotonic() >= self._due:
            self._due = time.monotonic() + MINUTE_S
            self._left = list(self._fleet.workers)
        some, self._left = self._left[:AT_ONCE], self._left[AT_ONCE:]
        if some:
            self._write([worker for worker in some if worker in self._fleet.workers])

    def _write(self, some: Sequence[WorkerId]) -> None:
        workers.note(self._stores.ledger, [self._note(self._fleet.workers[worker]) for worker in some])
        loads = self._stores.live.loads(some)
        beats = [self._fleet.beats[worker] for worker in some if worker in self._fleet.beats]
        samples.keep(self._stores.ledger, [_sample(beat, loads) for beat in beats])

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
