"""Sampling: once a minute each worker's status, last heartbeat and figures are written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from app.coordinator.batches import Round
from app.coordinator.fleet import Fleet
from app.coordinator.health.sightings import Sightings
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
    """Begins a round through the fleet once a minute, the first when a leader begins."""

    def __init__(
        self, stores: Stores, fleet: Fleet, sightings: Sightings, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stores = stores
        self._fleet = fleet
        self._sightings = sightings
        self._now = now
        self._due = now()
        self._round = Round()

    def step(self) -> None:
        """Write the notes and samples of some workers of this minute's round, if any are left.

        Raises RedisError, Unavailable: then these workers go without a sample for this minute.
        """
        if self._round.over and self._now() >= self._due:
            self._due = self._now() + MINUTE_S
            self._round.begin(self._fleet.workers)
        if batch := self._round.next(self._fleet.workers, AT_ONCE):
            self._write(batch)

    def _write(self, batch: Sequence[WorkerId]) -> None:
        workers.note(self._stores.ledger, [self._note(self._fleet.workers[worker]) for worker in batch])
        loads = self._stores.live.loads(batch)
        beats = [self._fleet.beats[worker] for worker in batch if worker in self._fleet.beats]
        samples.keep(self._stores.ledger, [_sample(beat, loads) for beat in beats])

    def _note(self, worker: Worker) -> Note:
        beating = self._sightings.is_beating(worker.id)
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
