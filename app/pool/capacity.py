"""How much a job takes of a worker, and whether the worker has that much to give now. Pure.

Who matches a job at all is matching.py's; here is what changes by the second: slots and cards. The same
facts fill the eligible sets and answer "why is my job waiting?".

A job that names `min_vram_mb` takes that much of one card; one that asks for `gpus` takes so many cards
for itself; one that names neither takes what its workflow declares, and where that declares nothing, a
whole card of a worker that has any. What takes no memory (a workflow that declares 0) holds no card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.pool.matching import Refusal, offered, takes_jobs
from app.pool.model import Gpu, Health, JobId, Requirement, Worker
from app.pool.policy import Policy
from app.pool.protocol import Beat, Lease, LeaseState, Memory

COARSE_MB = 64  # memory in use is rounded up to so much: a smaller change is not worth a write


@dataclass(frozen=True)
class Need:
    """What one attempt takes, and on what cards."""

    slots: int = 1
    vram_mb: int = 0  # of a card that it shares
    cards: int = 0  # so many for itself; 0: it shares one
    least_mb: int = 0  # free on each of its cards


@dataclass(frozen=True)
class Use:
    """What is measured of a card's memory: MiB in use by foreign processes and by our jobs."""

    others_mb: int
    ours_mb: int | None  # None: nobody could tell ours from others', and `others_mb` is both


@dataclass(frozen=True)
class Card:
    """One card of a worker: MiB that others and the reserve leave (None: nobody knows), and what we hold of it."""

    uuid: str
    usable_mb: int | None
    reserved_mb: int = 0
    held: bool = False  # a lease holds memory of it
    whole: bool = False  # for itself

    @property
    def free_mb(self) -> int:
        """What another lease may take of it; 0 where that is not known."""
        return 0 if self.whole or self.usable_mb is None else max(0, self.usable_mb - self.reserved_mb)


@dataclass(frozen=True)
class Room:
    """What a worker has, and how much of it its leases hold."""

    slots: int
    capacity: int  # slots and the places behind them
    held: int  # slots that leases hold
    cards: tuple[Card, ...] = ()


def takes(worker: Worker, beat: Beat | None) -> bool:
    """Whether new attempts may be given to this worker now, room permitting."""
    healthy = worker.health is Health.HEALTHY and takes_jobs(worker)
    return healthy and beat is not None and not beat.leaving


def need(worker: Worker, requirement: Requirement, above_mb: int = 0) -> Need:
    """What a job with this requirement takes of this worker; on a card with more than `above_mb` free, if not 0."""
    declared = offered(worker, requirement.workflow)
    taken = declared.slots if declared else 1
    vram_mb = requirement.min_vram_mb
    if vram_mb is None and not requirement.gpus and declared is not None:
        vram_mb = declared.vram_mb
    above = above_mb + 1 if above_mb else 0
    cards = requirement.gpus or (1 if vram_mb is None and worker.gpus else 0)
    return Need(taken, 0 if cards else vram_mb or 0, cards, max(vram_mb or 0, above))


def slots(worker: Worker, beat: Beat) -> int:
    """How many jobs it runs at a time: as many as it has slot processes for; 0 while none has started."""
    return min(worker.slots, beat.slots)


def depth(worker: Worker, policy: Policy) -> int:
    """How many places it has behind its slots."""
    return policy.queue_depth if worker.queue_depth is None else worker.queue_depth


def room(worker: Worker, beat: Beat, leases: Mapping[JobId, Lease], policy: Policy) -> Room:
    """The worker's room now, from its beat and its leases."""
    open_leases = [lease for lease in leases.values() if lease.state is not LeaseState.ENDED]
    has, used = slots(worker, beat), uses(worker, beat)
    return Room(
        slots=has,
        capacity=has + depth(worker, policy),
        held=sum(lease.slots for lease in open_leases),
        cards=tuple(_card(gpu, used[gpu.uuid], open_leases, policy.vram_reserve_mb) for gpu in worker.gpus),
    )


def uses(worker: Worker, beat: Beat) -> dict[str, Use | None]:
    """By card what is measured of its memory; None where nothing is."""
    figures = {gpu.uuid: gpu.memory for gpu in beat.gpus}
    idle = not beat.attempts
    return {gpu.uuid: _use(gpu, figures.get(gpu.uuid, Memory()), idle) for gpu in worker.gpus}


def capacity_refusal(has: Room, wants: Need) -> Refusal | None:
    """Why a worker that matches cannot take one more now; None when it can."""
    if has.held + wants.slots > has.capacity:
        return Refusal("slots", _slots_why(has, wants))
    if wants.cards:
        whole = [card for card in has.cards if not card.held and (card.usable_mb or 0) >= wants.least_mb]
        if len(whole) < wants.cards:
            return Refusal("cards", f"has {len(whole)} free GPUs of {len(has.cards)}, {wants.cards} are needed")
    elif wants.least_mb:
        most = max((card.free_mb for card in has.cards), default=0)
        if most < wants.least_mb:
            return Refusal("free vram", f"has {most} MiB free on one GPU, less than {wants.least_mb}")
    return None


def _use(gpu: Gpu, memory: Memory, idle: bool) -> Use | None:
    if memory.others is not None:
        return Use(_coarse(memory.others), _coarse(memory.ours or 0))
    if memory.free is None or not gpu.vram_mb:
        return None
    # A driver that lists no processes: what is in use while we run nothing is foreign.
    return Use(_coarse(gpu.vram_mb - memory.free), 0 if idle else None)


def _coarse(mebibytes: int) -> int:
    return -(-mebibytes // COARSE_MB) * COARSE_MB


def _card(gpu: Gpu, use: Use | None, leases: Iterable[Lease], reserve_mb: int) -> Card:
    on = [lease for lease in leases if gpu.uuid in lease.gpus and (lease.whole or lease.vram_mb)]
    reserved = sum(lease.vram_mb for lease in on)
    others = 0 if use is None else use.others_mb if use.ours_mb is not None else max(0, use.others_mb - reserved)
    usable = max(0, gpu.vram_mb - others - reserve_mb) if gpu.vram_mb else None
    return Card(gpu.uuid, usable, reserved, bool(on), any(lease.whole for lease in on))


def _slots_why(has: Room, wants: Need) -> str:
    free = max(0, has.capacity - has.held)
    if not has.slots:
        return "has no slot process at the moment"
    if wants.slots > 1:
        return f"has {free} free slots of {has.capacity}, {wants.slots} are needed"
    return f"is full ({has.held} of {has.capacity})"
