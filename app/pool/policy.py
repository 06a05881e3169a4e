"""The pool's settings as people change them while it runs, with their ranges.

The one place with their defaults; the ledger stores only what differs. The clocks that follow
from them (protocols.md's table) are properties here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from app.pool.errors import BadRequest


@dataclass(frozen=True)
class Clocks:
    """The durations of protocols.md's table that follow from the beat's interval; seconds."""

    interval_s: float
    missed_beats: int

    @property
    def ttl_s(self) -> float:
        """How long Redis keeps a beat, and the silence after which a worker is degraded."""
        return (self.missed_beats + 1 / 3) * self.interval_s

    @property
    def down_s(self) -> float:
        """The silence after which a worker is down."""
        return (self.missed_beats + 1) * self.interval_s

    @property
    def strict_term_s(self) -> float:
        """After the last beat that got through, a strict attempt is asked to end."""
        return self.missed_beats * self.interval_s

    @property
    def strict_kill_s(self) -> float:
        """And is killed: as long as the TTL, but counted from before the beat was sent."""
        return self.ttl_s


@dataclass(frozen=True)
class Policy:
    """One consistent set of pool settings; times in seconds unless the name says otherwise."""

    heartbeat_interval_s: float = 15.0
    missed_beats: int = 2
    fast_failover: bool = True
    strict: bool = False
    max_orphan_s: int = 600
    cancel_grace_s: int = 5
    queue_depth: int = 0
    timeout_s: int | None = None  # of jobs and workflows that name none; None: no limit
    stall_s: int | None = None  # the same of silence: no progress, log line or checkpoint for so long
    poison_deaths: int = 3
    block_failures: int = 3
    block_s: int = 3600
    strategy: str = "least-loaded"
    w_gpu: float = 0.4  # of the load's parts: use of the cards, jobs held against slots, memory in use
    w_queue: float = 0.4
    w_vram: float = 0.2
    prefer_weight: float = 0.1  # of load: what lacking a preferred tag of weight 1 is worth
    vram_reserve_mb: int = 256  # of each card, never given to jobs

    @property
    def clocks(self) -> Clocks:
        """What follows from interval and missed beats."""
        return Clocks(self.heartbeat_interval_s, self.missed_beats)


RANGES: Mapping[str, tuple[float, float]] = {
    "heartbeat_interval_s": (0.5, 300),
    "missed_beats": (1, 10),
    "max_orphan_s": (1, 86_400),
    "cancel_grace_s": (0, 300),
    "queue_depth": (0, 1_000),
    "timeout_s": (1, 30 * 86_400),
    "stall_s": (1, 86_400),
    "poison_deaths": (1, 100),
    "block_failures": (1, 100),
    "block_s": (60, 30 * 86_400),
    "w_gpu": (0, 1),
    "w_queue": (0, 1),
    "w_vram": (0, 1),
    "prefer_weight": (0, 1),
    "vram_reserve_mb": (0, 65_536),
}
LEAST_LOADED, ROUND_ROBIN, CAPABILITY_FIRST = "least-loaded", "round-robin", "capability-first"
STRATEGIES = (LEAST_LOADED, ROUND_ROBIN, CAPABILITY_FIRST)
CHOICES: Mapping[str, tuple[str, ...]] = {"strategy": STRATEGIES}
WEIGHTS = ("w_gpu", "w_queue", "w_vram")
NULLABLE = frozenset({"timeout_s", "stall_s"})


def changed(policy: Policy, changes: Mapping[str, Any]) -> Policy:
    """The policy with these changes. Raises BadRequest naming each bad field and its range."""
    errors = [(name, problem) for name, value in changes.items() if (problem := _problem(name, value))]
    if errors:
        raise BadRequest("some settings cannot be taken", errors)
    values: dict[str, Any] = {name: None if value is None else _kind(name)(value) for name, value in changes.items()}
    found = replace(policy, **values)
    if not any(getattr(found, name) for name in WEIGHTS):
        why = "one of the load's weights must be more than 0"
        raise BadRequest("some settings cannot be taken", [(name, why) for name in WEIGHTS if name in changes])
    return found


def _kind(name: str) -> type:
    """Of the setting's value when it is not None."""
    default = getattr(DEFAULTS, name)
    return int if default is None else type(default)


def _problem(name: str, value: Any) -> str | None:
    if name not in NAMES:
        return "there is no such setting"
    if value is None and name in NULLABLE:
        return None
    if name in CHOICES:
        return None if value in CHOICES[name] else f"must be one of {', '.join(CHOICES[name])}"
    kind = _kind(name)
    if kind is bool:
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"must be {NUMBERS[kind]}"
    low, high = RANGES[name]
    if not low <= value <= high:
        return f"must be from {low:g} to {high:g}"
    return f"must be {NUMBERS[kind]}" if kind is int and value != int(value) else None


DEFAULTS = Policy()
NAMES = tuple(f.name for f in fields(Policy))
NUMBERS = {int: "a whole number", float: "a number"}
