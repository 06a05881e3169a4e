"""Silence, judged: what the leader may believe of a worker from its beats alone. Pure.

The clock here counts only time in which the leader could see: a gap between two looks that got
through counts as at most a fifth of the beat's interval. So nobody is called silent for what the
judge could not see, and no worker's clock or wall clock is compared with another's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.pool.model import Health
from app.pool.policy import Clocks
from app.pool.protocol import Beat


@dataclass(frozen=True)
class Verdict:
    """A change of health, and why."""

    to: Health
    cause: str


@dataclass(frozen=True)
class Sight:
    """What this leader last saw of a worker: which beat, and when on the clock of its looks."""

    incarnation: int
    seq: int
    at: float
    ttl_s: float
    interval_s: float
    beating: bool = False  # its key was there at the last look
    fresh: bool = False  # and it was a beat not seen before

    @property
    def down_s(self) -> float:
        """The silence after which the worker is down: two thirds of an interval after degraded."""
        return self.ttl_s + self.interval_s * 2 / 3


def clock_step(gap_s: float, interval_s: float) -> float:
    """How much of the time between two looks counts."""
    return min(gap_s, interval_s / 5)


def first_sight(incarnation: int, clock: float, clocks: Clocks) -> Sight:
    """Of a worker of which this leader has seen no beat: its silence begins now."""
    return Sight(incarnation, -1, clock, clocks.ttl_s, clocks.interval_s)


def seen(sight: Sight, beat: Beat | None, clock: float) -> Sight:
    """The sight after a look that found this beat, or none."""
    if beat is None:
        return replace(sight, beating=False, fresh=False)
    if beat.seq == sight.seq:
        return replace(sight, beating=True, fresh=False)
    return Sight(sight.incarnation, beat.seq, clock, beat.ttl_ms / 1000, beat.interval_ms / 1000, True, True)


def judge(health: Health, sight: Sight, clock: float) -> Verdict | None:
    """What silence, or its end, makes of a worker; None when nothing changes.

    A worker that left returns by joining only. A silent worker is seen degraded before it is down.
    """
    if health is Health.LEFT:
        return None
    if sight.beating:
        recovered = sight.fresh and health in (Health.DEGRADED, Health.DOWN)
        return Verdict(Health.HEALTHY, "beats again") if recovered else None
    silence = clock - sight.at
    if health is Health.HEALTHY and silence >= sight.ttl_s:
        return Verdict(Health.DEGRADED, f"silent: no heartbeat for {silence:.1f} s")
    if health is Health.DEGRADED and silence >= sight.down_s:
        return Verdict(Health.DOWN, f"silent: no heartbeat for {silence:.1f} s")
    return None
