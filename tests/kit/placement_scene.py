"""A fleet in a leader's memory, written to a real Redis by the leader's own refresh; no ledger, no agents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from app.coordinator.attempts.leases import Batch, Leases
from app.coordinator.fleet import Fleet
from app.coordinator.placement.index import Index
from app.coordinator.placement.place import Place, Run, Unplaced
from app.coordinator.stores import Stores
from app.ledger.db import Ledger
from app.ledger.waiting import WaitingClass, WaitingJob
from app.pool.keys import Keys
from app.pool.model import Gpu, Health, Intent, JobId, Requirement, Worker, WorkerId, Workflow
from app.pool.protocol import AttemptRef, Beat, GpuFigures, LeaseState, Memory
from tests.kit.waiting_jobs import waiting

KEYS = Keys("pool:")
A, B, C = WorkerId("aaaaaaaaaaaa"), WorkerId("bbbbbbbbbbbb"), WorkerId("cccccccccccc")
BURN = Requirement("burn")


def a_worker(name: str, gpus: Sequence[int] = (), **rest: Any) -> Worker:
    """A healthy worker that offers `burn`, with a card for each number of MiB."""
    cards = tuple(Gpu(f"{name[:2]}-g{index}", index, "card", mb) for index, mb in enumerate(gpus))
    facts = {"slots": 1, "workflows": (Workflow("burn", "python"),), "gpu_model": "card" if gpus else None, **rest}
    return Worker(
        id=WorkerId(name),
        name=name,
        hostname=name,
        host_id=name,
        boot_id="b",
        incarnation=1,
        health=Health.HEALTHY,
        intent=Intent.ACTIVE,
        gpus=cards,
        **facts,
    )


def a_beat(worker: Worker, running: Sequence[str] = (), cpu: float | None = 0.0, **figures: Any) -> Beat:
    """The worker's beat; `utilisation` and `memory` are those of its first card, the others are idle."""
    leaving = figures.pop("leaving", False)
    first = {"utilisation": figures.get("utilisation", 0.0), "memory": figures.get("memory")}
    cards = [
        GpuFigures(
            gpu.uuid,
            gpu.index,
            gpu.model,
            gpu.vram_mb or None,
            first["utilisation"] if gpu.index == 0 else 0.0,
            (first["memory"] if gpu.index == 0 else None) or Memory(0, 0, gpu.vram_mb or None),
        )
        for gpu in worker.gpus
    ]
    attempts = tuple(AttemptRef(JobId(job), 1, slot) for slot, job in enumerate(running))
    free = worker.slots - len(attempts)
    return Beat(
        worker.id, 1, 1, 15_000, 35_000, "b", worker.slots, free, attempts, tuple(cards), cpu=cpu, leaving=leaving
    )


def workers_of(places: Sequence[Place | Unplaced]) -> list[WorkerId | None]:
    """The worker that was chosen for each job."""
    return [place.worker if isinstance(place, Place) else None for place in places]


@dataclass
class PlacementScene:
    """The placement of a leader, with a fleet in memory and sets in Redis."""

    stores: Stores
    fleet: Fleet
    index: Index

    @classmethod
    def on(cls, client: Any) -> PlacementScene:
        """A scene on this database; placing needs neither a ledger nor RQ."""
        stores = Stores(cast(Ledger, None), client, None, KEYS)
        fleet = Fleet(stores)
        return cls(stores, fleet, Index(stores, fleet))

    def other_leader(self) -> PlacementScene:
        """The placement of another leader, which knows the same fleet."""
        other = PlacementScene.on(self.stores.redis)
        other.fleet.workers, other.fleet.beats = dict(self.fleet.workers), dict(self.fleet.beats)
        return other

    def worker(self, name: str, depth: int = 0, **facts: Any) -> None:
        """Add a worker, or change one."""
        told = {key: facts.pop(key) for key in FIGURES if key in facts}
        worker = replace(a_worker(name, **facts), queue_depth=depth)
        self.fleet.workers[worker.id] = worker
        self.fleet.beats[worker.id] = a_beat(worker, **told)
        self.index.refresh([worker.id])

    def gone(self, worker: WorkerId) -> None:
        """End the beats of a worker."""
        del self.fleet.beats[worker]
        self.index.refresh([worker])

    def open(self, requirement: Requirement) -> None:
        """Make the sets of a requirement."""
        self.has_room(requirement)

    def has_room(self, requirement: Requirement) -> bool:
        """True when a worker has room for a job with this requirement."""
        return bool(self.with_room(x=requirement))

    def with_room(self, **requirements: Requirement) -> set[str]:
        """The names of those of these requirements that somebody has room for."""
        return self.index.with_room(WaitingClass(name, it, frozenset()) for name, it in requirements.items())

    def place(
        self, requirement: Requirement, *jobs: str | WaitingJob, excluded: Sequence[WorkerId] = ()
    ) -> list[Place | Unplaced]:
        """Place jobs of one class."""
        named = [waiting(job) if isinstance(job, str) else job for job in jobs]
        return self.index.place([Run(requirement, named, excluded)])[0]

    def place_runs(self, *runs: tuple[Requirement, Sequence[str]]) -> list[list[Place | Unplaced]]:
        """Place jobs of several classes, in one call."""
        return self.index.place([Run(requirement, [waiting(job) for job in jobs]) for requirement, jobs in runs])

    @contextmanager
    def marks(self) -> Iterator[Batch]:
        """Changes of leases, sent at the end."""
        batch = Leases(self.stores).batch()
        yield batch
        batch.send()

    def release(self, worker: WorkerId, job: str, attempt: int = 1) -> None:
        """Remove a job's lease."""
        with self.marks() as batch:
            batch.released(worker, JobId(job), attempt)

    def leases(self, worker: WorkerId) -> dict[JobId, LeaseState]:
        """The worker's leases by job."""
        return {job: lease.state for job, lease in self.stores.live.leases(worker).items()}

    def loads(self) -> dict[str, float]:
        """The load of every live worker."""
        return dict(self.stores.redis.zrange(KEYS.load, 0, -1, withscores=True))

    def sets(self) -> dict[str, dict[str, float]]:
        """Every eligible set that has members."""
        names = sorted(self.stores.redis.scan_iter(KEYS.eligible("*")))
        return {name: dict(self.stores.redis.zrange(name, 0, -1, withscores=True)) for name in names}


FIGURES = ("running", "cpu", "utilisation", "memory", "leaving")
