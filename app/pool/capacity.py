"""How much a job takes of a worker, and whether the worker has that much to give now. Pure.

Who matches a job at all is matching.py's; here is what changes by the second: slots and cards. The same
facts fill the eligible sets and answer "why is my job waiting?".

A job that names `min_vram_mb` takes that much of one card; one that asks for `gpus` takes so many cards
for itself; one that names neither takes what its workflow declares, and where that declares nothing, a
whole card of a worker that has any. A card is given whole only while others hold little of it. What takes
no memory (a workflow that declares 0) holds no card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from app.pool.matching import Refusal, RefusedBy, offered, refusal, takes_jobs
from app.pool.model import Gpu, Health, JobId, Requirement, Worker
from app.pool.policy import Policy
from app.pool.protocol import Beat, Lease, LeaseState, Memory, Reservation
from app.pool.status import Clause, listed

# The filter that an idle worker fails by, for each that a busy one does.
NEVER = {RefusedBy.SLOTS: RefusedBy.SIZE, RefusedBy.CARDS: RefusedBy.GPUS, RefusedBy.FREE_VRAM: RefusedBy.VRAM}
NAMED = 4  # cards in one sentence
COARSE_MB = 64  # memory in use is rounded up to this step: smaller changes are not worth a write


@dataclass(frozen=True)
class Need:
    """What one attempt takes, and on what cards."""

    slots: int = 1
    vram_mb: int = 0  # of a card that it shares
    cards: int = 0  # whole cards; 0: it shares one
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
    size_mb: int = 0
    others_mb: int = 0  # that others hold, as far as anybody knows
    crowded: bool = False  # that is too much for a job that has the card for itself

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
    wide: bool = False  # some lease holds several slots

    def places(self, wants: Need) -> int:
        """How many slots, and places behind them, there are for such jobs.

        A job of several slots leaves slot processes idle, and an idle one would start whatever stands behind.
        """
        return self.slots if self.wide or wants.slots > 1 else self.capacity


def takes(worker: Worker, beat: Beat | None) -> bool:
    """Whether new attempts may be given to this worker now, room permitting."""
    healthy = worker.health is Health.HEALTHY and takes_jobs(worker)
    return healthy and beat is not None and not beat.leaving


def need(worker: Worker, requirement: Requirement) -> Need:
    """What a job with this requirement takes of this worker."""
    declared = offered(worker, requirement.workflow)
    taken = declared.slots if declared else 1
    vram_mb = requirement.min_vram_mb
    if vram_mb is None and not requirement.gpus and declared is not None:
        vram_mb = declared.vram_mb
    cards = requirement.gpus or (1 if vram_mb is None and worker.gpus else 0)
    return Need(taken, 0 if cards else vram_mb or 0, cards, max(vram_mb or 0, least_mb(requirement)))


def least_mb(requirement: Requirement) -> int:
    """The MiB that have to be free on a card for such a job, whatever its workflow declares."""
    above = 0 if requirement.above_vram_mb is None else requirement.above_vram_mb + 1
    return max(requirement.min_vram_mb or 0, above)


def slots(worker: Worker, beat: Beat) -> int:
    """The number of jobs that the worker can run at a time; 0 until a slot process has started."""
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
        cards=tuple(_card(gpu, used[gpu.uuid], open_leases, policy) for gpu in worker.gpus),
        wide=any(lease.slots > 1 for lease in open_leases),
    )


def emptied(has: Room) -> Room:
    """The room of a worker as if it held no lease."""
    cards = tuple(replace(card, reserved_mb=0, held=False, whole=False) for card in has.cards)
    return replace(has, held=0, cards=cards, wide=False)


def unfit(worker: Worker, requirement: Requirement, policy: Policy) -> Refusal | None:
    """Why this worker, as it is set up, could not run such a job even if it ran nothing else; None when it could."""
    found = refusal(worker, requirement)
    if found:
        return found
    wants = need(worker, requirement)
    if wants == Need() and worker.slots:
        return None
    bare = Room(worker.slots, worker.slots, 0, _idle_cards(worker.gpus, policy))
    never = capacity_refusal(bare, wants)
    return None if never is None else Refusal(NEVER[never.filter], _even_when_idle(never.clause))


def could_give_mb(worker: Worker, beat: Beat | None, policy: Policy) -> int:
    """The most MiB that a job could have on one card if none of our jobs ran there; 0 of a worker without cards.

    What foreign processes use counts where there is a beat.
    """
    return max((card.free_mb for card in _bare_cards(worker, beat, policy)), default=0)


def has_card_above(worker: Worker, beat: Beat | None, requirement: Requirement, policy: Policy) -> bool:
    """Whether a card of this worker could give more than the one whose memory ran out; True where none did."""
    above_mb = requirement.above_vram_mb
    return above_mb is None or could_give_mb(worker, beat, policy) > above_mb


def uses(worker: Worker, beat: Beat) -> dict[str, Use | None]:
    """By card what is measured of its memory; None where nothing is."""
    figures = {gpu.uuid: gpu.memory for gpu in beat.gpus}
    idle = not beat.attempts
    return {gpu.uuid: _use(gpu, figures.get(gpu.uuid, Memory()), idle) for gpu in worker.gpus}


def foreign_mb(worker: Worker, beat: Beat) -> dict[str, int]:
    """By card the MiB that are surely in use by foreign processes; without those of which nobody knows."""
    known = {uuid: use for uuid, use in uses(worker, beat).items() if use and use.ours_mb is not None}
    return {uuid: use.others_mb for uuid, use in known.items()}


def most_of_others_mb(card_mb: int, policy: Policy) -> int:
    """The MiB that others may hold of a card that a job has for itself: as people set it, and at most half of it."""
    most_mb = _coarse(policy.others_vram_mb)
    return min(most_mb, card_mb // 2) if card_mb else most_mb


def held_by_others(worker: Worker, beat: Beat, wants: Need, policy: Policy) -> str:
    """In words, what others hold of its cards, where that leaves no room for such a job; '' where we are in the way."""
    cards = _bare_cards(worker, beat, policy)
    if capacity_refusal(Room(wants.slots, wants.slots, 0, cards), wants) is None:
        return ""
    return _others_words(cards)


def capacity_refusal(has: Room, wants: Need) -> Refusal | None:
    """Why a worker that matches cannot take one more now; None when it can."""
    if has.held + wants.slots > has.places(wants):
        return Refusal(RefusedBy.SLOTS, _slots_clause(has, wants))
    if wants.cards:
        idle = [card for card in has.cards if not card.held and (card.usable_mb or 0) >= wants.least_mb]
        crowded = [card for card in idle if card.crowded]
        free = len(idle) - len(crowded)
        if free < wants.cards:
            others = f": {_others_words(crowded)}" if crowded else ""
            words = f"{free} free GPUs of {len(has.cards)}, {wants.cards} are needed{others}"
            return Refusal(RefusedBy.CARDS, Clause("has", words))
    elif wants.least_mb:
        most = max((card.free_mb for card in has.cards), default=0)
        if has.cards and all(card.usable_mb is None for card in has.cards):
            unknown = f"not say how much is free on its GPUs, {wants.least_mb} MiB are needed"
            return Refusal(RefusedBy.FREE_VRAM, Clause("does", unknown))
        if most < wants.least_mb:
            return Refusal(
                RefusedBy.FREE_VRAM, Clause("has", f"{most} MiB free on one GPU, less than {wants.least_mb}")
            )
    return None


def measured_card(gpu: Gpu, memory: Memory, idle: bool, held: Iterable[Reservation], policy: Policy) -> Card:
    """The card by these figures of its memory and with what jobs hold of it; `idle`: none of ours runs anywhere."""
    return _card(gpu, _use(gpu, memory, idle), held, policy)


def _use(gpu: Gpu, memory: Memory, idle: bool) -> Use | None:
    if memory.others is not None:
        ours = memory.ours or 0
        # What no process has, the driver keeps: that is not ours to give either.
        missing = gpu.vram_mb - memory.free - ours if memory.free is not None else 0
        return Use(_coarse(max(memory.others, missing)), _coarse(ours))
    if memory.free is None or not gpu.vram_mb:
        return None
    # A driver that lists no processes: what is in use while we run nothing is foreign.
    return Use(_coarse(gpu.vram_mb - memory.free), 0 if idle else None)


@lru_cache(maxsize=1024)
def _idle_cards(gpus: tuple[Gpu, ...], policy: Policy) -> tuple[Card, ...]:
    """With nothing in use."""
    return tuple(_card(gpu, Use(0, 0), (), policy) for gpu in gpus)


def _bare_cards(worker: Worker, beat: Beat | None, policy: Policy) -> tuple[Card, ...]:
    """Its cards without our leases: of what is in use what is surely foreign."""
    foreign = foreign_mb(worker, beat) if beat else {}
    if not any(foreign.values()):
        return _idle_cards(worker.gpus, policy)
    return tuple(_card(gpu, Use(foreign.get(gpu.uuid, 0), 0), (), policy) for gpu in worker.gpus)


def _coarse(mebibytes: int) -> int:
    return -(-mebibytes // COARSE_MB) * COARSE_MB


def _card(gpu: Gpu, use: Use | None, leases: Iterable[Reservation], policy: Policy) -> Card:
    on = [lease for lease in leases if gpu.uuid in lease.gpus and (lease.whole or lease.vram_mb)]
    reserved, others, usable = sum(lease.vram_mb for lease in on), 0, None
    if use is not None:
        others = use.others_mb if use.ours_mb is not None else max(0, use.others_mb - reserved)
        usable = max(0, gpu.vram_mb - others - policy.vram_reserve_mb) if gpu.vram_mb else None
    return Card(
        gpu.uuid,
        usable,
        reserved,
        held=bool(on),
        whole=any(lease.whole for lease in on),
        size_mb=gpu.vram_mb,
        others_mb=others,
        crowded=others > most_of_others_mb(gpu.vram_mb, policy),
    )


def _others_words(cards: Iterable[Card]) -> str:
    held = [f"{card.others_mb} of {card.size_mb}" for card in cards if card.others_mb]
    return f"others hold {listed(held, NAMED)} MiB"


def _even_when_idle(clause: Clause) -> Clause:
    return Clause(clause.verb, f"{clause.rest}, even when idle")


def _slots_clause(has: Room, wants: Need) -> Clause:
    most = has.places(wants)
    if not has.slots:
        return Clause("has", "no slot process at the moment")
    if wants.slots > 1:
        return Clause("has", f"{max(0, most - has.held)} free slots of {most}, {wants.slots} are needed")
    return Clause("is", f"full ({has.held} of {most})")
