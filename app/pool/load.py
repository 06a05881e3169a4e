"""A worker's load as the coordinator wrote it: the score, and the parts that it was made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields

MEAN = "~"  # behind a part that is other workers' mean
NOTHING = "-"  # for one that no worker has


@dataclass(frozen=True)
class Part:
    """A share from 0 to 1; where nobody could measure it here, the mean of comparable workers."""

    share: float
    measured: bool = True


@dataclass(frozen=True)
class Parts:
    """The parts of a load; None for one that no worker in the pool has, which then weighs nothing."""

    gpu: Part | None = None
    queue: Part | None = None
    vram: Part | None = None


@dataclass(frozen=True)
class Load:
    """From 0, idle, to 1, full."""

    score: float
    parts: Parts


NAMES = tuple(each.name for each in fields(Parts))


def load(text: str) -> Load:
    """As settle.lua writes it: 'load gpu queue vram', perhaps with the worker's turn before it."""
    score, *shares = text.split()[-1 - len(NAMES) :]
    return Load(float(score), Parts(*map(_part, shares)))


def measured(found: Parts) -> dict[str, float | None]:
    """The parts by their names for people; None where nobody could measure one."""
    named = {"utilisation": found.gpu, "queue": found.queue, "vram": found.vram}
    return {name: part.share if part and part.measured else None for name, part in named.items()}


def means(found: Parts) -> dict[str, float]:
    """What those that nobody could measure count as."""
    named = {"utilisation": found.gpu, "queue": found.queue, "vram": found.vram}
    return {name: part.share for name, part in named.items() if part and not part.measured}


def _part(word: str) -> Part | None:
    return None if word == NOTHING else Part(float(word.rstrip(MEAN)), not word.endswith(MEAN))
