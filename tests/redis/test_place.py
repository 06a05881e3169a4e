"""Placing: capacity, VRAM and sets, on both servers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import redis

from app.coordinator.eligible import Eligible, Place, Run, Want
from app.coordinator.fleet import Fleet
from app.coordinator.leases import Leases, script
from app.coordinator.stores import Stores
from app.ledger.db import Ledger
from app.pool.keys import Keys
from app.pool.live import Live
from app.pool.model import JobId, Requirement, WorkerId
from app.pool.protocol import LeaseState, Reservation

KEYS = Keys("pool:")
ANY = Requirement("")
A, B = WorkerId("aaaaaaaaaaaa"), WorkerId("bbbbbbbbbbbb")


@pytest.fixture
def stores(redis_url: str) -> Iterator[Stores]:
    # No ledger and no RQ: placing needs neither.
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield Stores(cast(Ledger, None), client, None, KEYS)


@pytest.fixture
def eligible(stores: Stores) -> Eligible:
    return Eligible(stores, Fleet(stores))


def room(
    stores: Stores,
    worker: WorkerId,
    capacity: int = 1,
    base: float = 0.0,
    gpus: list[list[Any]] | None = None,
    classes: Mapping[str, int] | None = None,
) -> None:
    """Put a worker with this room into its sets, by the script that refresh uses."""
    facts = {
        "capacity": capacity,
        "base": base,
        "per_held": 0.4,
        "per_mb": 0.0,
        "gpus": gpus or [],
        "classes": {"any": 0} if classes is None else classes,
    }
    script(stores.redis, "refresh")(
        keys=[KEYS.lease(worker), KEYS.worker(worker), KEYS.load],
        args=[worker, KEYS.eligible_prefix, json.dumps(facts)],
    )


def want(name: str, **rest: Any) -> Want:
    return Want(JobId(name), 1, **rest)


def place(eligible: Eligible, wants: list[Want]) -> list[Place | None]:
    return eligible.place([Run("any", ANY, tuple(wants))])[0]


def members(stores: Stores, class_name: str = "any") -> dict[str, float]:
    return dict(stores.redis.zrange(KEYS.eligible(class_name), 0, -1, withscores=True))


def leases(stores: Stores, worker: WorkerId) -> dict[JobId, LeaseState]:
    return {job: lease.state for job, lease in Live(stores.redis, KEYS).leases(worker).items()}


def test_the_least_loaded_worker_is_taken_and_its_score_rises_at_once(stores: Stores, eligible: Eligible) -> None:
    room(stores, A, capacity=2)
    room(stores, B, capacity=2, base=0.1)
    given = place(eligible, [want("j1"), want("j2"), want("j3")])
    assert [place.worker for place in given if place] == [A, B, A]
    assert stores.redis.zscore(KEYS.load, A) == pytest.approx(0.8)
    assert stores.redis.zscore(KEYS.load, B) == pytest.approx(0.5)


def test_a_full_worker_is_in_no_set_and_a_full_fleet_gives_nothing(stores: Stores, eligible: Eligible) -> None:
    room(stores, A, classes={"any": 0, "other": 0})
    assert place(eligible, [want("j1"), want("j2")])[1] is None
    assert members(stores) == {}
    assert members(stores, "other") == {}
    assert stores.redis.zscore(KEYS.load, A) is not None


def test_excluded_workers_are_passed_over(stores: Stores, eligible: Eligible) -> None:
    room(stores, A)
    room(stores, B, base=0.3)
    assert place(eligible, [want("j1", excluded=(A,))]) == [Place(B, ())]
    assert place(eligible, [want("j2", excluded=(A,))]) == [None]


def test_capacity_is_never_exceeded_under_concurrent_calls(stores: Stores, eligible: Eligible) -> None:
    for worker in (A, B):
        room(stores, worker, capacity=3)

    def one(number: int) -> Place | None:
        return place(eligible, [want(f"j{number}")])[0]

    with ThreadPoolExecutor(8) as pool:
        given = [place for place in pool.map(one, range(40)) if place]
    assert len(given) == 6
    assert len(leases(stores, A)) == len(leases(stores, B)) == 3


def test_vram_is_reserved_on_one_gpu_and_given_back(stores: Stores, eligible: Eligible) -> None:
    room(stores, A, capacity=4, gpus=[["g0", 8000], ["g1", 10000]], classes={"any": 0, "big": 5000})
    first, second, third = place(
        eligible, [want("j1", vram_mb=6000), want("j2", vram_mb=6000), want("j3", vram_mb=6000)]
    )
    assert (first, second, third) == (Place(A, ("g1",)), Place(A, ("g0",)), None)
    assert A in members(stores)
    assert A not in members(stores, "big")
    release(stores, "j1")
    assert A in members(stores, "big")


def release(stores: Stores, job: str, attempt: int = 1) -> None:
    batch = Leases(stores).batch()
    batch.released(A, JobId(job), attempt)
    batch.send()


def test_release_with_another_attempt_changes_nothing(stores: Stores, eligible: Eligible) -> None:
    room(stores, A)
    place(eligible, [want("j1")])
    release(stores, "j1", attempt=2)
    assert leases(stores, A) == {JobId("j1"): LeaseState.GIVEN}
    assert members(stores) == {}
    release(stores, "j1")
    assert leases(stores, A) == {}
    assert A in members(stores)


def test_a_revoked_lease_holds_its_slot_and_an_ended_one_does_not(stores: Stores, eligible: Eligible) -> None:
    room(stores, A)
    place(eligible, [want("j1")])
    batch = Leases(stores).batch()
    batch.revoked(A, JobId("j1"), 1, "cancel", 5)
    batch.send()
    assert members(stores) == {}
    batch.ended(A, JobId("j1"), 1)
    batch.send()
    assert A in members(stores)


def test_a_lease_never_goes_back(stores: Stores, eligible: Eligible) -> None:
    room(stores, A)
    place(eligible, [want("j1")])
    batch = Leases(stores).batch()
    batch.revoked(A, JobId("j1"), 1, "cancel")
    batch.claimed(A, JobId("j1"), 1, "nonce")
    batch.revoked(A, JobId("j1"), 1, "taken away")
    batch.send()
    lease = Live(stores.redis, KEYS).leases(A)[JobId("j1")]
    assert (lease.state, lease.why) == (LeaseState.REVOKED, "cancel")


def test_a_mark_of_a_lower_attempt_changes_nothing(stores: Stores) -> None:
    room(stores, A)
    batch = Leases(stores).batch()
    batch.given(A, JobId("j1"), 2, Reservation())
    batch.ended(A, JobId("j1"), 1)
    batch.send()
    assert leases(stores, A) == {JobId("j1"): LeaseState.GIVEN}


def test_a_job_is_not_placed_where_an_older_attempt_of_it_may_still_run(stores: Stores, eligible: Eligible) -> None:
    room(stores, A, capacity=2)
    place(eligible, [want("j1")])
    assert place(eligible, [Want(JobId("j1"), 2)]) == [None]
    batch = Leases(stores).batch()
    batch.ended(A, JobId("j1"), 1)
    batch.send()
    assert place(eligible, [Want(JobId("j1"), 2)]) == [Place(A, ())]


def test_two_leaders_that_place_at_once_never_give_a_slot_twice(stores: Stores) -> None:
    room(stores, A)
    leaders = [Eligible(stores, Fleet(stores)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        given = list(pool.map(lambda n: place(leaders[n], [want(f"j{n}")])[0], range(2)))
    assert sorted(place is None for place in given) == [False, True]


def test_a_full_worker_that_stands_in_a_set_by_mistake_is_given_nothing(stores: Stores, eligible: Eligible) -> None:
    room(stores, A)
    place(eligible, [want("j1")])
    stores.redis.zadd(KEYS.eligible("any"), {A: 0.0})
    assert place(eligible, [want("j2")]) == [None]


def test_an_entry_without_a_worker_is_removed(stores: Stores, eligible: Eligible) -> None:
    stores.redis.zadd(KEYS.eligible("any"), {A: 0.0})
    assert place(eligible, [want("j1")]) == [None]
    assert members(stores) == {}
