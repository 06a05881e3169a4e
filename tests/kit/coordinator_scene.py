"""A leader whose time the test moves, on real stores, with workers that speak the protocol by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from app.coordinator.control_loop import SWEEP_S, ControlLoop
from app.coordinator.health.presence import Presence
from app.coordinator.hints import Hint
from app.coordinator.stores import Stores
from app.ledger import jobs
from app.ledger.db import Ledger
from app.ledger.registry import setups, workers
from app.pool.model import Gpu, Health, Job, JobId, JobState, Requirement
from app.pool.protocol import Lease, LeaseState, Order
from tests.kit.actors import submit
from tests.kit.peer import Peer

FAST = Requirement("burn", tags=("fast",))
CARD = Gpu("GPU-1", 0, "A10", 24_000)
BOOT_ID = "boot-1"  # the workers' too
EVERYTHING = Hint(everything=True)
BELL = Hint(jobs=True)  # what a submission rings
RUNG = Hint(jobs=True, fleet=True)  # what "worker <id>" on the bell says


@dataclass
class CoordinatorScene:
    """A leader whose time the test moves, and its stores."""

    stores: Stores
    time: float = 1000.0
    leader: ControlLoop = field(init=False)

    def __post_init__(self) -> None:
        self.new_leader()

    @property
    def ledger(self) -> Ledger:
        return self.stores.ledger

    def new_leader(self, sweep_s: float = SWEEP_S) -> None:
        """The old one is gone with all that it remembered."""
        presence = Presence(self.stores, BOOT_ID, now=lambda: self.time)
        self.leader = ControlLoop(self.stores, lambda: self.time, presence=presence, sweep_s=sweep_s)

    def step(self) -> None:
        self.leader.step(EVERYTHING)

    def later(self, seconds: float, *beating: Peer) -> None:
        """Let time pass in seconds, with these workers beating."""
        for _ in range(round(seconds)):
            self.time += 1
            for peer in beating:
                peer.beat()
            self.step()

    def peer(self, name: str = "render-1", *gpus: Gpu) -> Peer:
        """A worker that has joined and beats."""
        peer = Peer(self.stores, self.ledger, name, gpus=gpus)
        peer.beat()
        self.step()
        return peer

    def set_up(self, peer: Peer, **what: Any) -> None:
        """An admin sets this of the worker, and the bell is rung."""
        setups.change(self.ledger, [peer.id], lambda worker: replace(setups.setup_of(worker), **what), "ana")
        self.leader.step(RUNG)

    def wide(self, slots: int, name: str = "render-1", *gpus: Gpu) -> Peer:
        """A worker with so many slots."""
        peer = self.peer(name, *gpus)
        self.set_up(peer, slots=slots)
        peer.slots = slots
        peer.beat()
        self.step()
        return peer

    def job(self, job: JobId) -> Job:
        found = jobs.find(self.ledger, job)
        assert found is not None
        return found

    def running(self, peer: Peer, **spec: Any) -> Order:
        """A job that this worker has claimed."""
        submit(self.ledger, **spec)
        self.step()
        order = peer.pop()
        assert order is not None
        peer.claim(order)
        self.step()
        assert self.job(order.job).state is JobState.RUNNING
        return order

    def health(self, peer: Peer) -> Health:
        found = workers.find(self.ledger, peer.id)
        assert found is not None
        return found.health


def state_of(lease: Lease | None) -> LeaseState | None:
    return lease.state if lease else None


def state(scene: CoordinatorScene, *some: Job) -> list[JobState]:
    return [scene.job(job.id).state for job in some]


def begun(scene: CoordinatorScene, peer: Peer) -> Order:
    """The next order, claimed."""
    order = peer.next_order()
    peer.claim(order)
    scene.step()
    return order


def end(scene: CoordinatorScene, peer: Peer, order: Order, word: str = "succeeded", **rest: Any) -> None:
    peer.end(order, word, **rest)
    peer.beat()
    scene.step()
