"""A worker's load: its parts as its beat tells them, and as the coordinator wrote them with the score. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from app.pool.protocol import Beat

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
ANSWERED: Mapping[str, str] = {"gpu": "utilisation", "queue": "queue", "vram": "vram"}  # as programs are told of a part
WORDS: Mapping[str, str] = {"gpu": "utilisation", "queue": "queue", "vram": "memory"}  # as people are


def utilisation(beat: Beat) -> float | None:
    """The mean over the worker's GPUs that say it, 0 to 1; for a worker without a GPU, the use of its host's CPUs."""
    return mean(gpu.utilisation for gpu in beat.gpus) if beat.gpus else beat.cpu


def vram_used(beat: Beat) -> float | None:
    """The share of its cards' memory that is in use by anybody, 0 to 1; None where it is not measured."""
    known = [gpu for gpu in beat.gpus if gpu.vram_mb and gpu.memory.free is not None]
    total = sum(gpu.vram_mb or 0 for gpu in known)
    return 1 - sum(gpu.memory.free or 0 for gpu in known) / total if total else None


def mean(figures: Iterable[float | None]) -> float | None:
    """The mean of the figures that are known; None when none is."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known else None


def load(text: str) -> Load:
    """As settle.lua writes it: 'load gpu queue vram', perhaps with the worker's turn before it."""
    score, *shares = text.split()[-1 - len(NAMES) :]
    return Load(float(score), Parts(*map(_part, shares)))


def measured(found: Parts) -> dict[str, float | None]:
    """The parts as they are answered; None where nobody could measure one."""
    return {name: part.share if part and part.measured else None for name, part in _answered(found)}


def means(found: Parts) -> dict[str, float]:
    """What those that nobody could measure count as."""
    return {name: part.share for name, part in _answered(found) if part and not part.measured}


def _answered(found: Parts) -> list[tuple[str, Part | None]]:
    return [(ANSWERED[name], getattr(found, name)) for name in NAMES]


def _part(word: str) -> Part | None:
    return None if word == NOTHING else Part(float(word.rstrip(MEAN)), not word.endswith(MEAN))
