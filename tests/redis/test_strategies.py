"""Each strategy's choice, preferred tags in each, changes while it runs; and the parts of the load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from app.coordinator.placement.place import Place
from app.pool.model import Requirement, WorkerId, Workflow
from app.pool.policy import STRATEGIES, Policy
from app.pool.protocol import Memory
from tests.kit.placement_scene import BURN, A, B, C, PlacementScene, workers_of

LIKING = Requirement("burn", prefers=(("liked", 1.0),))
FREE = (Workflow("burn", "python", vram_mb=0),)


def use(pool: PlacementScene, strategy: str, **rest: Any) -> None:
    pool.fleet.policy = replace(pool.fleet.policy, strategy=strategy, **rest)


def test_least_loaded_takes_the_lowest_score(pool: PlacementScene) -> None:
    pool.worker(A, cpu=0.4)
    pool.worker(B, cpu=0.2)
    assert workers_of(pool.place(BURN, "j1", "j2")) == [B, A]


def test_a_preferred_tag_of_weight_1_is_worth_a_tenth_of_load(pool: PlacementScene) -> None:
    pool.worker(A, slots=2, tags=("liked",), cpu=0.18)  # a load of 0.09
    pool.worker(B, slots=2)
    assert workers_of(pool.place(LIKING, "j1")) == [A]
    assert workers_of(pool.place(LIKING, "j2")) == [B]  # A's is 0.34 by now: a preference delays nobody
    pool.release(A, "j1")
    pool.release(B, "j2")
    pool.worker(A, slots=2, tags=("liked",), cpu=0.22)
    assert workers_of(pool.place(LIKING, "j3")) == [B]
    pool.release(B, "j3")
    use(pool, "least-loaded", prefer_weight=0.2)
    assert workers_of(pool.place(LIKING, "j4")) == [A]


def test_the_weights_of_lacking_tags_add_up(pool: PlacementScene) -> None:
    pool.worker(A, tags=("much",))
    pool.worker(B, tags=("little", "less"))
    pool.worker(C)
    wish = Requirement("burn", prefers=(("much", 0.9), ("little", 0.5), ("less", 0.3)))
    assert workers_of(pool.place(wish, "j1", "j2", "j3")) == [A, B, C]


def test_round_robin_takes_who_received_a_job_longest_ago(pool: PlacementScene) -> None:
    use(pool, "round-robin")
    for worker, cpu in ((A, 0.9), (B, 0.0), (C, 0.5)):
        pool.worker(worker, slots=3, cpu=cpu)
    first = workers_of(pool.place(BURN, "j1", "j2", "j3"))
    assert sorted(filter(None, first)) == [A, B, C]
    assert workers_of(pool.place(BURN, "j4", "j5", "j6")) == first


def test_round_robin_takes_those_that_lack_fewer_preferred_tags_while_they_have_a_free_slot(
    pool: PlacementScene,
) -> None:
    use(pool, "round-robin")
    pool.worker(A, slots=2, depth=1, tags=("liked",))
    pool.worker(B, depth=1)
    assert workers_of(pool.place(LIKING, "j1", "j2", "j3")) == [A, A, B]


def test_capability_first_keeps_the_able_free(pool: PlacementScene) -> None:
    use(pool, "capability-first")
    pool.worker(A, slots=2, tags=("fast", "large"))
    pool.worker(B, slots=2, tags=("fast",), cpu=0.6)
    pool.worker(C, slots=2, cpu=0.9)
    assert workers_of(pool.place(BURN, "j1", "j2", "j3")) == [C, C, B]
    assert workers_of(pool.place(Requirement("burn", tags=("large",)), "j4")) == [A]


def test_capability_first_counts_eight_gibibytes_beyond_the_need_as_a_tag(pool: PlacementScene) -> None:
    use(pool, "capability-first")
    pool.worker(A, gpus=(24_576,))
    pool.worker(B, gpus=(8_192,), tags=("x",), utilisation=0.9)
    pool.worker(C, gpus=(16_384,), tags=("x", "y"))
    assert workers_of(pool.place(BURN, "j1", "j2", "j3")) == [B, A, C]  # 2, 3 and 4 to spare
    for worker, job in ((A, "j2"), (B, "j1"), (C, "j3")):
        pool.release(worker, job)
    large = Requirement("burn", min_vram_mb=16_000)
    assert workers_of(pool.place(large, "j4", "j5", "j6")) == [A, C, None]  # 1, 2, too small


def test_preferred_tags_are_not_spare_in_capability_first_and_break_ties(pool: PlacementScene) -> None:
    use(pool, "capability-first")
    pool.worker(A, tags=("liked",), cpu=0.15)
    pool.worker(B)
    pool.worker(C, tags=("other",))
    assert workers_of(pool.place(LIKING, "j1", "j2", "j3")) == [A, B, C]


def test_of_equal_spare_the_less_loaded_is_taken(pool: PlacementScene) -> None:
    use(pool, "capability-first")
    pool.worker(A, cpu=0.5, tags=("x",))
    pool.worker(B, cpu=0.1, tags=("y",))
    assert workers_of(pool.place(BURN, "j1")) == [B]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_preference_never_delays_a_job(pool: PlacementScene, strategy: str) -> None:
    use(pool, strategy)
    pool.worker(A, tags=("liked",), depth=5)
    pool.worker(B, depth=5)
    assert workers_of(pool.place(LIKING, "j1", "j2")) == [A, B]


def test_a_group_may_have_a_strategy_of_its_own(pool: PlacementScene) -> None:
    pool.fleet.strategies = {"night": "capability-first"}
    pool.worker(A, slots=4, groups=("night", "day"), tags=("x",))
    pool.worker(B, slots=4, groups=("night", "day"), cpu=0.8)
    assert workers_of(pool.place(Requirement("burn", group="night"), "j1")) == [B]
    assert workers_of(pool.place(Requirement("burn", group="day"), "j2")) == [A]
    place = pool.place(Requirement("burn", group="night"), "j3")[0]
    assert isinstance(place, Place)
    assert place.record["strategy"] == "capability-first"
    pool.fleet.strategies = {}
    assert workers_of(pool.place(Requirement("burn", group="night"), "j4")) == [A]


def test_a_change_of_strategy_under_load_loses_and_doubles_no_placement(pool: PlacementScene) -> None:
    capacity = {WorkerId(f"{number:012d}"): 3 for number in range(20)}
    for number, worker in enumerate(capacity):
        pool.worker(worker, slots=3, tags=("liked",) * (number % 2))
    pool.open(LIKING)
    rounds = 60

    def switch(number: int) -> None:
        use(pool, STRATEGIES[number % 3], w_gpu=0.1 * (number % 7))
        pool.index.refresh(capacity)

    def work(number: int) -> list[tuple[WorkerId, str]]:
        other = pool.other_leader()
        kept = []
        for each in range(rounds):
            place = other.place(LIKING, f"j{number}x{each}")[0]
            if isinstance(place, Place) and each % 2:
                pool.release(place.worker, f"j{number}x{each}")
            elif isinstance(place, Place):
                kept.append((place.worker, f"j{number}x{each}"))
        return kept

    with ThreadPoolExecutor(3) as threads:
        busy = [threads.submit(work, number) for number in range(2)]
        for number in range(12):
            switch(number)
        given = [each for some in busy for each in some.result()]
    assert sorted(given) == sorted((w, str(job)) for w in capacity for job in pool.leases(w))
    assert all(len(pool.leases(worker)) <= slots for worker, slots in capacity.items())
    pool.index.rebuild(whole=True)
    free = {worker for worker, slots in capacity.items() if len(pool.leases(worker)) < slots}
    assert set().union(*pool.sets().values()) == free
    assert len(workers_of(pool.place(LIKING, *(f"z{n}" for n in range(60))))) == 60
    assert sum(len(pool.leases(worker)) for worker in capacity) == 60


def test_weights_take_effect_with_the_next_refresh(pool: PlacementScene) -> None:
    pool.worker(A, gpus=(10_000,), utilisation=0.8)
    pool.worker(B, gpus=(10_000,), memory=Memory(0, 5_000, 5_000))
    pool.open(BURN)
    assert pool.loads() == pytest.approx({A: 0.32, B: 0.1}, abs=0.01)
    pool.fleet.policy = Policy(w_gpu=0.0, w_queue=0.0, w_vram=1.0)
    pool.index.rebuild(whole=False)
    assert pool.loads() == pytest.approx({A: 0.0, B: 0.5}, abs=0.01)


@pytest.mark.parametrize(
    ("part", "busier"),
    [("gpu", {"utilisation": 0.5}), ("vram", {"memory": Memory(0, 2_000, 8_000)}), ("queue", {})],
)
def test_two_workers_that_differ_in_one_part_only_are_told_apart(
    pool: PlacementScene, part: str, busier: dict[str, Any]
) -> None:
    for worker in (A, B):
        pool.worker(worker, slots=2, gpus=(10_000,), workflows=FREE)
    if part == "queue":
        (place,) = pool.place(BURN, "j0")
        assert isinstance(place, Place)
        busy = place.worker
    else:
        busy = A
        pool.worker(A, slots=2, gpus=(10_000,), workflows=FREE, **busier)
    pool.index.rebuild(whole=False)
    loads = pool.stores.live.loads([A, B])
    idle = B if busy == A else A
    shares = {worker: getattr(loads[worker].parts, part).share for worker in (idle, busy)}
    assert shares[busy] > shares[idle]
    others = {"gpu", "queue", "vram"} - {part}
    assert all(getattr(loads[busy].parts, each) == getattr(loads[idle].parts, each) for each in others)
    assert loads[busy].score > loads[idle].score
    assert workers_of(pool.place(BURN, "j1")) == [idle]


def test_the_score_is_the_weighted_sum_of_the_parts_that_are_shown(pool: PlacementScene) -> None:
    pool.worker(A, slots=2, gpus=(10_000, 10_000), utilisation=0.5, memory=Memory(0, 2_000, 8_000))
    pool.worker(B, gpus=(10_000,), utilisation=None, memory=Memory())
    pool.place(Requirement("burn", min_vram_mb=1_000), "j1")
    pool.index.rebuild(whole=False)
    policy = pool.fleet.policy
    for worker in (A, B):
        found = pool.stores.live.loads([worker])[worker]
        gpu, queue, vram = found.parts.gpu, found.parts.queue, found.parts.vram
        assert gpu and queue and vram
        assert (gpu.measured, queue.measured, vram.measured) == (worker == A, True, worker == A)
        total = policy.w_gpu * gpu.share + policy.w_queue * queue.share + policy.w_vram * vram.share
        assert found.score == pytest.approx(total, abs=0.001)
        assert found.score == pool.loads()[worker]


def test_a_part_that_was_not_measured_takes_the_mean_and_still_counts_what_is_reserved(pool: PlacementScene) -> None:
    pool.worker(A, slots=2, gpus=(10_000,), utilisation=0.4, memory=Memory(0, 5_000, 5_000), workflows=FREE)
    pool.worker(B, slots=2, gpus=(10_000,), utilisation=None, memory=Memory(), workflows=FREE)
    pool.index.rebuild(whole=True)
    parts = pool.stores.live.loads([B])[B].parts
    assert parts.gpu and parts.vram
    assert (parts.gpu.share, parts.vram.share) == pytest.approx((0.4, 0.5), abs=0.02)
    assert workers_of(pool.place(Requirement("burn", min_vram_mb=2_000), "j1", "j2", "j3")) == [A, A, None]
    assert workers_of(pool.place(Requirement("burn", gpus=1), "j4")) == [B]
    parts = pool.stores.live.loads([B])[B].parts
    assert parts.vram and parts.vram.share == 1.0 and not parts.vram.measured


def test_a_part_without_weight_is_shown_as_measured_all_the_same(pool: PlacementScene) -> None:
    pool.fleet.policy = replace(pool.fleet.policy, w_gpu=0.0, w_vram=0.0)
    pool.worker(A, gpus=(10_000,), utilisation=0.4, memory=Memory(0, 5_000, 5_000))
    parts = pool.stores.live.loads([A])[A].parts
    assert parts.gpu and parts.vram
    assert (parts.gpu.share, parts.vram.share) == pytest.approx((0.4, 0.5), abs=0.02)
    assert parts.gpu.measured and parts.vram.measured


def test_a_full_worker_is_full_in_every_part_that_its_jobs_hold(pool: PlacementScene) -> None:
    pool.worker(A, gpus=(10_000,), depth=1)
    pool.worker(B)
    pool.place(Requirement("burn", gpus=1), "j1")
    parts = pool.stores.live.loads([A])[A].parts
    assert parts.queue and parts.vram
    assert (parts.queue.share, parts.vram.share) == (1.0, 1.0)
