"""What the workflow of steps.py has written down, read back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

S = 1e9


@dataclass(frozen=True)
class Moment:
    """A step began or ended; `at` is CLOCK_BOOTTIME in ns."""

    job: str
    attempt: int
    worker: str
    step: int
    what: str
    at: int

    def __str__(self) -> str:
        return f"{self.at / S:.3f} {self.job} a{self.attempt} on {self.worker}: step {self.step} {self.what}s"


def read(path: Path) -> list[Moment]:
    """All moments in a file, in the order of time; none when there is no file."""
    return parsed(path.read_bytes()) if path.exists() else []


def parsed(lines: bytes) -> list[Moment]:
    """The moments in whole lines of a history, in the order of time."""
    return sorted((Moment(**json.loads(line)) for line in lines.splitlines()), key=lambda each: each.at)


def by_job(moments: Sequence[Moment]) -> dict[str, list[Moment]]:
    """The moments of each job, in their order."""
    found: dict[str, list[Moment]] = defaultdict(list)
    for moment in moments:
        found[moment.job].append(moment)
    return dict(found)


def attempts(moments: Sequence[Moment]) -> dict[int, list[Moment]]:
    """The moments of one job by attempt, in their order."""
    found: dict[int, list[Moment]] = defaultdict(list)
    for moment in moments:
        found[moment.attempt].append(moment)
    return dict(found)


def overlap_s(moments: Sequence[Moment]) -> float:
    """For how long an older attempt of one job went on after a newer one had begun; 0 for none."""
    found = attempts(moments)
    return max(
        (max(0, found[old][-1].at - found[new][0].at) / S for old in found for new in found if old < new),
        default=0.0,
    )
