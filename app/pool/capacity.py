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

from app.pool.matching import Refusal, offered
from app.pool.model import JobId, Requirement, Worker
from app.pool.policy import Policy
from app.pool.protocol import Beat, Lease, LeaseState


@dataclass(frozen=True)
class Need:
    """What one attempt takes: slots, MiB on one card, or whole cards (each with at least so many MiB free)."""

    slots: int = 1
    vram_mb: int = 0
    cards: int = 0  # so many for itself; 0: it shares one


@dataclass(frozen=True)
class Card:
    """One card of a worker: MiB that others and the reserve leave (None: nobody knows), and what we hold of it."""

    uuid: str
    usable_mb: int | None
    reserved_mb: int = 0
    leases: int = 0  # that hold memory of it
    whole: bool = False  # one of them has it for itself

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


def need(worker: Worker, requirement: Requirement) -> Need:
    """What a job with this requirement takes of this worker."""
    declared = offered(worker, requirement.workflow)
    slots = declared.slots if declared else 1
    if requirement.gpus:
        return Need(slots, requirement.min_vram_mb or 0, requirement.gpus)
    if requirement.min_vram_mb is not None:
        return Need(slots, requirement.min_vram_mb)
    if declared is not None and declared.vram_mb is not None:
        return Need(slots, declared.vram_mb)
    return Need(slots, 0, 1 if worker.gpus else 0)


def slots(worker: Worker, beat: Beat) -> int:
    """How many jobs it runs at a time: as many as it has slot processes for."""
    return max(1, min(worker.slots, beat.slots))


def room(worker: Worker, beat: Beat, leases: Mapping[JobId, Lease], policy: Policy) -> Room:
    """The worker's room now, from its beat and its leases."""
    depth = policy.queue_depth if worker.queue_depth is None else worker.queue_depth
    open_leases = [lease for lease in leases.values() if lease.state is not LeaseState.ENDED]
    return Room(
        slots=slots(worker, beat),
        capacity=slots(worker, beat) + depth,
        held=sum(lease.slots for lease in open_leases),
        cards=tuple(
            _card(uuid, usable, open_leases) for uuid, usable in usable_mb(worker, beat, policy.vram_reserve_mb).items()
        ),
    )


def usable_mb(worker: Worker, beat: Beat, reserve_mb: int) -> dict[str, int | None]:
    """By card: MiB less what foreign processes use (as last measured) and the reserve; None where it names none."""
    others = {gpu.uuid: gpu.memory.others or 0 for gpu in beat.gpus}
    return {
        gpu.uuid: max(0, gpu.vram_mb - others.get(gpu.uuid, 0) - reserve_mb) if gpu.vram_mb else None
        for gpu in worker.gpus
    }


def capacity_refusal(has: Room, wants: Need, above_mb: int = 0) -> Refusal | None:
    """Why a worker that matches cannot take one more now; None when it can."""
    if has.held + wants.slots > has.capacity:
        return Refusal("slots", _slots_why(has, wants))
    if wants.cards:
        whole = [card for card in has.cards if _fits_whole(card, wants.vram_mb, above_mb)]
        if len(whole) < wants.cards:
            return Refusal("cards", f"has {len(whole)} free GPUs of {len(has.cards)}, {wants.cards} are needed")
    elif wants.vram_mb or above_mb:
        most = max((card.free_mb for card in has.cards), default=0)
        if most < max(wants.vram_mb, above_mb + 1):
            least = max(wants.vram_mb, above_mb + 1)
            return Refusal("free vram", f"has {most} MiB free on one GPU, less than {least}")
    return None


def _fits_whole(card: Card, vram_mb: int, above_mb: int) -> bool:
    known = card.usable_mb or 0
    return not card.leases and known >= vram_mb and (not above_mb or known > above_mb)


def _card(uuid: str, usable: int | None, leases: Iterable[Lease]) -> Card:
    on = [lease for lease in leases if uuid in lease.gpus and (lease.whole or lease.vram_mb)]
    return Card(
        uuid, usable, sum(lease.vram_mb for lease in on if not lease.whole), len(on), any(lease.whole for lease in on)
    )


def _slots_why(has: Room, wants: Need) -> str:
    free = max(0, has.capacity - has.held)
    if wants.slots > 1:
        return f"has {free} free slots of {has.capacity}, {wants.slots} are needed"
    return f"is full ({has.held} of {has.capacity})"
