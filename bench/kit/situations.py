"""What waits before a full fleet when bench/dispatch.py measures a tick. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from app.pool.model import JobSpec, Requirement, WorkerId

AT_ONCE = 10_000  # jobs in one INSERT
BURN = Requirement("burn")
FAILED = "failed before"  # the name of such jobs


@dataclass(frozen=True)
class Situation:
    """What waits for slots, by owner, and what nobody could run, by class."""

    name: str
    owners: Sequence[int]
    parked: int = 0
    parked_in_each: int = 0
    excluding: int = 0  # before all others, the first owner's: they exclude the one worker whose slots become free
    failed: int = 0  # before all others, the first owner's: each has failed on one of the workers
    particular: int = 0  # classes that everybody could run, one job each

    def specs(self, freed: WorkerId) -> Iterator[JobSpec]:
        """Every job that waits, in the order of their queues: what is inserted before is older."""
        yield from [JobSpec(replace(BURN, exclude_workers=(freed,)), owner="owner0")] * self.excluding
        yield from [JobSpec(BURN, owner="owner0", name=FAILED)] * self.failed
        for number, count in enumerate(self.owners):
            yield from [JobSpec(BURN, owner=f"owner{number}")] * count
        for number in range(self.parked):
            needs = replace(BURN, tags=(f"nobody-has-{number}",))
            yield from [JobSpec(needs, owner="owner0")] * self.parked_in_each
        for number in range(self.particular):
            yield JobSpec(replace(BURN, prefers=((f"liked-{number}", 1.0),)), owner="owner0")


SITUATIONS = (
    Situation("500 of one owner", [500]),
    Situation("10,000 of one owner", [10_000]),
    Situation("the same, 3 of each of 9 others", [10_000, *[3] * 9]),
    Situation("10 of each of 100 owners", [10] * 100),
    Situation("500; 100 classes parked, 10 jobs each", [500], 100, 10),
    Situation("500; 100 classes parked, 1,000 jobs each", [500], 100, 1_000),
    Situation("500; 1,000 classes parked, 1 job each", [500], 1_000, 1),
    Situation("500 behind 10,000 that exclude whoever is free", [500], excluding=AT_ONCE),
    Situation("500 behind 10,000 that have each failed somewhere", [500], failed=AT_ONCE),
    Situation("500; 1,000 classes that anybody could run, 1 job each", [500], particular=1_000),
)
