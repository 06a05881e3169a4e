"""What bench/placement.py places: which workers have which tags, and which classes of jobs ask for what. Pure.

Each strategy has the same three classes, so that they can be compared. All cases are placed on one fleet.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.pool.model import Requirement
from app.pool.policy import STRATEGIES

TAGS = tuple(f"tag{number}" for number in range(100))
MODELS = tuple(f"model:{number}" for number in range(20))
BURN = Requirement("burn")


@dataclass(frozen=True)
class Case:
    """Which classes of jobs are placed in turn, and how."""

    name: str
    classes: Sequence[Requirement] = (BURN,)
    strategy: str = "least-loaded"
    full: bool = False


def tags_of(number: int) -> tuple[str, ...]:
    """A worker's in all cases: halves in four ways, a rare one, a hundred that all have, three models."""
    halves = (f"half{bit}" for bit in range(4) if number >> bit & 1)
    rare = ("rare",) * (number % 100 == 3)  # they are in the first two halves too
    return (*halves, *rare, *TAGS, *random.Random(number).sample(MODELS, 3))


COMPARED = {
    "no tags": BURN,
    "one required tag, held by half": replace(BURN, tags=("half0",)),
    "two preferred tags": replace(BURN, prefers=(("half0", 1.0), ("half1", 0.5))),
}
CASES = (
    *(Case(f"{way}: {name}", [wish], way) for way in STRATEGIES for name, wish in COMPARED.items()),
    Case("three required tags, held by 1 %", [replace(BURN, tags=("half0", "half1", "rare"))]),
    Case("the whole fleet full", full=True),
    Case("100 classes, every worker in all", [replace(BURN, tags=(tag,)) for tag in TAGS]),
    Case(
        "the same, 16 kinds of workers",
        [replace(BURN, tags=(tag,), prefers=((f"half{n % 4}", 1.0),)) for n, tag in enumerate(TAGS)],
    ),
    Case(
        "20 classes, each prefers another of 20 models",
        [replace(BURN, prefers=((model, 1.0),)) for model in MODELS],
    ),
)
