"""Silence, judged: what the leader may believe of a worker by its beats alone. Pure, but for its clock.

The clock counts only time in which the leader could see: of a gap between two looks that got through, at
most a fifth of the beat's interval counts. So nobody is called silent for what the leader could not see,
and no clock of a host is compared with another's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.pool.model import Degraded, Health, Worker
from app.pool.policy import Clocks, missing_s
from app.pool.protocol import Beat

FIRST_BEAT_S = 10.0  # what a busy host may take to start an agent's processes after its join


@dataclass(frozen=True)
class Verdict:
    """A change of health, and why in a sentence. `proven`: its processes are gone, or as good as."""

    to: Health
    reason: str
    proven: bool = False
    degraded_as: Degraded | None = None


@dataclass(frozen=True)
class Sight:
    """What this leader last saw of a worker: which beat, and when by the clock of its looks."""

    incarnation: int
    seq: int  # -1: no beat of this incarnation was seen
    at: float
    ttl_s: float
    interval_s: float
    beating: bool = False  # its key was there at the last look
    fresh: bool = False  # and it was a beat not seen before
    missing_at: float | None = None  # when a look first found its key gone

    @property
    def undecided(self) -> bool:
        """True when its key is gone after it had been there."""
        return self.seq >= 0 and not self.beating

    @property
    def down_s(self) -> float:
        """The silence after which the worker is down: a while after degraded."""
        return self.ttl_s + self.missing_s

    @property
    def missing_s(self) -> float:
        """How long its key has to stay missing before it is down, also for a leader that had looked away."""
        return missing_s(self.interval_s)


class Clock:
    """Counts the time in which the leader could see; any thread whose call got through may tick it."""

    def __init__(self, interval_s: Callable[[], float], now: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._now = now
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._ticked = now()

    def tick(self) -> None:
        """A call got through."""
        with self._lock:
            now = self._now()
            self._seconds += clock_step(max(0.0, now - self._ticked), self._interval_s())
            self._ticked = now

    def forgive(self) -> None:
        """The time since the last tick does not count at all."""
        with self._lock:
            self._ticked = self._now()

    def read(self) -> float:
        """The seconds that count, at the last tick."""
        with self._lock:
            return self._seconds


def clock_step(gap_s: float, interval_s: float) -> float:
    """How much of the time between two looks counts."""
    return min(gap_s, interval_s / 5)


def first_sight(incarnation: int, clock: float, clocks: Clocks, joined: bool = False) -> Sight:
    """The sight of a worker of which this leader has seen no beat: its silence begins at this `clock`.

    A worker that has `joined` under this leader is given FIRST_BEAT_S: it has nothing yet that could be lost meanwhile.
    """
    ttl_s = max(clocks.ttl_s, FIRST_BEAT_S) if joined else clocks.ttl_s
    return Sight(incarnation, -1, clock, ttl_s, clocks.interval_s)


def seen(sight: Sight, beat: Beat | None, at: float) -> Sight:
    """The sight after a look that found this beat, received at this time, or none at this time."""
    if beat is None:
        missing_at = at if sight.missing_at is None else sight.missing_at
        return replace(sight, beating=False, fresh=False, missing_at=missing_at)
    if beat.seq == sight.seq:
        return replace(sight, beating=True, fresh=False, missing_at=None)
    return Sight(sight.incarnation, beat.seq, at, beat.ttl_ms / 1000, beat.interval_ms / 1000, True, True)


def judge(health: Health, sight: Sight, clock: float) -> Verdict | None:
    """What silence, or its end, makes of a worker; None when nothing changes.

    A worker that left returns by joining only. A silent worker is always degraded before it is down.
    Callers skip workers that take nothing: they recover by taking, not by beating.
    """
    if health is Health.LEFT:
        return None
    if sight.beating:
        recovered = sight.fresh and health in (Health.DEGRADED, Health.DOWN)
        return Verdict(Health.HEALTHY, "beats again") if recovered else None
    silence = clock - sight.at
    if health is Health.HEALTHY and silence >= sight.ttl_s:
        return Verdict(Health.DEGRADED, f"silent: no heartbeat for {silence:.1f} s", degraded_as=Degraded.SILENT)
    missing_at = clock if sight.missing_at is None else sight.missing_at
    if health is Health.DEGRADED and silence >= sight.down_s and clock - missing_at >= sight.missing_s:
        return Verdict(Health.DOWN, f"silent: no heartbeat for {silence:.1f} s")
    return None


def takes_nothing(worker: Worker) -> bool:
    """True for a worker that is degraded because its slots take nothing, though it beats."""
    return worker.health is Health.DEGRADED and worker.degraded_as == Degraded.TAKES_NOTHING
