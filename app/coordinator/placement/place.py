"""What goes into place.lua and what comes out of it: wants of jobs, and the places that they were given. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.coordinator.placement.index_plan import Part
from app.coordinator.placement.scoring import shown
from app.coordinator.placement.worker_classes import Demand
from app.pool.capacity import Need
from app.pool.codec import plain
from app.pool.keys import Keys
from app.pool.load import load
from app.pool.model import JobId, Json, Requirement, WorkerId

LOOK_AT = 16  # workers at the head of a set, beyond the excluded ones
FIXED = 7  # words of an answer before the runners-up


@dataclass(frozen=True)
class Want:
    """A job that wants a worker."""

    job: JobId
    attempt: int
    vram_mb: int = 0  # its own min_vram_mb; 0: what its class needs
    gpus: int = 0  # 0: what its class needs
    excluded: tuple[WorkerId, ...] = ()
    above_mb: int = 0  # it needs a card with more free MiB than this

    @property
    def least_mb(self) -> int:
        """So much has to be free on its card."""
        return max(self.vram_mb, self.above_mb + 1 if self.above_mb else 0)


@dataclass(frozen=True)
class Run:
    """Jobs of one class, in the order in which they are to be placed."""

    class_name: str
    requirement: Requirement
    wants: tuple[Want, ...]

    def of(self, want: Want) -> Requirement:
        """What this one of them demands: of a class, jobs differ in their memory."""
        mine, own = self.requirement, want.vram_mb or self.requirement.min_vram_mb
        return replace(mine, min_vram_mb=own, gpus=want.gpus or mine.gpus)


@dataclass(frozen=True)
class Place:
    """The worker that was reserved, what of it, and why it won.

    record: strategy, score, load, parts {gpu, queue, vram}, runners_up [{worker, score}, …]
    """

    worker: WorkerId
    gpus: tuple[str, ...]
    vram_mb: int = 0  # on each of its GPUs
    whole: bool = False  # those GPUs are for it alone
    slots: int = 1
    record: Mapping[str, Json] = field(default_factory=dict, compare=False)


def arguments(keys: Keys, wants: Sequence[Want], demands: Sequence[tuple[Demand, Sequence[Part]]]) -> list[Any]:
    """ARGV of place.lua for these wants, each with its demand and the sets that this reads."""
    different = dict(demands)
    numbers = {demand: number for number, demand in enumerate(different, 1)}
    found: list[Any] = [
        keys.lease_prefix,
        keys.worker_prefix,
        keys.eligible_prefix,
        LOOK_AT,
        len(wants),
        len(different),
    ]
    for parts in different.values():
        alike: dict[Need, list[Part]] = {}
        for part in parts:
            alike.setdefault(part.needs, []).append(part)
        found.append(len(alike))
        for needs, some in alike.items():
            found += [needs.slots, needs.cards, needs.least_mb, needs.vram_mb, len(some)]
            found += [word for part in some for word in (part.name, part.offset)]
    for want, (demand, _) in zip(wants, demands, strict=True):
        found += [
            want.job,
            want.attempt,
            numbers[demand],
            want.least_mb,
            want.vram_mb,
            len(want.excluded),
            *want.excluded,
        ]
    return found


def is_unsure(answer: Sequence[Any]) -> bool:
    """Whether place.lua found no room, but could not look everywhere."""
    return 0 < len(answer) < FIXED


def placed(answer: Sequence[Any], strategy: str) -> Place | None:
    """What place.lua answers for one want."""
    if len(answer) < FIXED:
        return None
    worker, uuids, vram_mb, whole, slots, score, words = answer[:FIXED]
    others = answer[FIXED:]
    found = load(words)
    record = {
        "strategy": strategy,
        **shown(strategy, float(score)),
        "load": found.score,
        "parts": plain(found.parts),
        "runners_up": [
            {"worker": other, **shown(strategy, float(its))}
            for other, its in zip(others[0::2], others[1::2], strict=True)
        ],
    }
    uuids = tuple(uuid for uuid in uuids.split(",") if uuid)
    return Place(WorkerId(worker), uuids, int(vram_mb), bool(whole), int(slots), record)
