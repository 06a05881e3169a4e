"""Silence, judged with moved time."""

from __future__ import annotations

from app.coordinator.health.failure_detector import Sight, clock_step, first_sight, judge, seen
from app.pool.model import Health, WorkerId
from app.pool.policy import Clocks
from app.pool.protocol import Beat

CLOCKS = Clocks(interval_s=15.0, missed_beats=2)
TTL, DOWN = 35.0, 45.0


def beat(seq: int, interval_s: float = 15.0) -> Beat:
    ttl = Clocks(interval_s, 2).ttl_s
    return Beat(WorkerId("w" * 12), 1, seq, round(interval_s * 1000), round(ttl * 1000), "boot", 1, 1)


def sight_of(seq: int, at: float, interval_s: float = 15.0) -> Sight:
    return seen(first_sight(1, 0.0, CLOCKS), beat(seq, interval_s), at)


def silent(sight: Sight, clock: float) -> Sight:
    return seen(sight, None, clock)


def to(health: Health, sight: Sight, clock: float) -> Health | None:
    verdict = judge(health, sight, clock)
    return verdict.to if verdict else None


def test_a_worker_is_degraded_after_the_ttl_and_down_two_thirds_of_an_interval_later() -> None:
    gone = silent(sight_of(7, at=100.0), 101.0)
    assert to(Health.HEALTHY, gone, 100.0 + TTL - 0.1) is None
    assert to(Health.HEALTHY, gone, 100.0 + TTL + 0.1) is Health.DEGRADED
    assert to(Health.DEGRADED, gone, 100.0 + DOWN - 0.1) is None
    assert to(Health.DEGRADED, gone, 100.0 + DOWN + 0.1) is Health.DOWN


def test_a_silent_worker_is_always_seen_degraded_before_it_is_down() -> None:
    assert to(Health.HEALTHY, silent(sight_of(7, at=0.0), 1.0), 10_000.0) is Health.DEGRADED


def test_a_key_that_is_still_there_is_no_silence() -> None:
    old = seen(sight_of(7, at=0.0), beat(7), 1.0)
    assert to(Health.HEALTHY, old, 10_000.0) is None


def test_a_new_beat_makes_a_degraded_and_a_down_worker_healthy_and_an_old_one_does_not() -> None:
    fresh = sight_of(8, at=50.0)
    assert to(Health.DEGRADED, fresh, 50.0) is Health.HEALTHY
    assert to(Health.DOWN, fresh, 50.0) is Health.HEALTHY
    assert to(Health.DEGRADED, seen(fresh, beat(8), 51.0), 51.0) is None


def test_a_worker_that_left_returns_by_joining_only() -> None:
    assert to(Health.LEFT, sight_of(8, at=50.0), 50.0) is None
    assert to(Health.LEFT, silent(sight_of(8, at=50.0), 51.0), 10_000.0) is None


def test_a_new_leader_waits_a_whole_ttl_for_a_worker_that_it_never_saw() -> None:
    unseen = first_sight(1, 200.0, CLOCKS)
    assert to(Health.HEALTHY, unseen, 200.0 + TTL - 0.1) is None
    assert to(Health.HEALTHY, unseen, 200.0 + TTL + 0.1) is Health.DEGRADED


def test_a_worker_is_judged_by_the_interval_that_its_own_beat_names() -> None:
    quick = silent(sight_of(7, at=0.0, interval_s=1.0), 1.0)
    assert to(Health.HEALTHY, quick, 2.4) is Health.DEGRADED
    assert to(Health.DEGRADED, quick, 3.1) is Health.DOWN


def test_time_in_which_the_judge_could_not_see_does_not_count() -> None:
    assert clock_step(gap_s=0.5, interval_s=15.0) == 0.5
    assert clock_step(gap_s=600.0, interval_s=15.0) == 3.0


def test_who_looked_away_sees_a_worker_degraded_for_as_long_as_any_other() -> None:
    gone = silent(sight_of(7, at=100.0), 100.0 + DOWN + 20)  # the first look since then
    assert to(Health.HEALTHY, gone, 165.0) is Health.DEGRADED
    assert to(Health.DEGRADED, gone, 165.0 + DOWN - TTL - 0.1) is None
    assert to(Health.DEGRADED, silent(gone, 170.0), 165.0 + DOWN - TTL + 0.1) is Health.DOWN
    back = seen(gone, beat(7), 166.0)
    assert silent(back, 170.0).missing_at == 170.0
