"""Placing: capacity, cards and sets, on both servers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.coordinator.placement.index import MOST_MEMORIES
from app.coordinator.placement.place import Place, Unplaced
from app.coordinator.scripts import script
from app.ledger.waiting import WaitingClass
from app.pool.model import JobId, Requirement, WorkerId, Workflow
from app.pool.policy import Policy
from app.pool.protocol import LeaseState, Memory, Reservation, Revocation
from tests.kit.placement_scene import BURN, KEYS, A, B, C, PlacementScene, workers_of
from tests.kit.waiting_jobs import waiting

FREE = Workflow("free", "python", vram_mb=0)
FULL, OLDER = Unplaced.FULL, Unplaced.OLDER_ATTEMPT


def test_the_least_loaded_worker_is_taken_and_its_score_rises_at_once(pool: PlacementScene) -> None:
    pool.worker(A, slots=2)
    pool.worker(B, slots=2, cpu=0.3)
    assert workers_of(pool.place(BURN, "j1", "j2", "j3")) == [A, B, A]
    assert pool.loads()[A] == pytest.approx(0.5, abs=0.001)
    assert pool.loads()[B] == pytest.approx(0.15 + 0.25, abs=0.001)


def test_of_equals_the_one_that_waited_longest_is_taken(pool: PlacementScene) -> None:
    for worker in (A, B, C):
        pool.worker(worker)
    first = []
    for number in range(6):
        place = pool.place(BURN, f"j{number}")[0]
        assert isinstance(place, Place)
        first.append(place.worker)
        pool.release(place.worker, f"j{number}")
    assert set(first[:3]) == {A, B, C}
    assert first[3:] == first[:3]


def test_a_full_worker_is_in_no_set_and_a_full_fleet_gives_nothing(pool: PlacementScene) -> None:
    pool.worker(A, workflows=(Workflow("burn", "python"), FREE))
    pool.place(Requirement("free", tags=("none",)), "j0")
    assert workers_of(pool.place(BURN, "j1", "j2")) == [A, None]
    assert pool.sets() == {}
    assert not pool.with_room(x=BURN, y=Requirement("free"))
    assert pool.loads()[A] > 0


def test_a_full_fleet_costs_one_read_for_each_set(pool: PlacementScene) -> None:
    for worker in (A, B):
        pool.worker(worker)
    pool.place(BURN, "j1", "j2")
    pool.stores.redis.config_resetstat()
    assert workers_of(pool.place(BURN, "j3", "j4")) == [None, None]
    stats = pool.stores.redis.info("commandstats")
    client_s_own = {"cmdstat_evalsha", "cmdstat_script|exists", "cmdstat_config|resetstat"}
    assert {name: stats[name]["calls"] for name in stats.keys() - client_s_own} == {"cmdstat_zrange": 1}


def test_a_class_has_room_while_some_worker_that_matches_has(pool: PlacementScene) -> None:
    pool.worker(A, tags=("fast",))
    pool.worker(B)
    classes = {"fast": Requirement("burn", tags=("fast",)), "all": BURN, "none": Requirement("burn", tags=("new",))}
    assert pool.with_room(**classes) == {"fast", "all"}
    pool.place(classes["fast"], "j1")
    assert pool.with_room(**classes) == {"all"}
    pool.release(A, "j1")
    assert pool.with_room(**classes) == {"fast", "all"}


def test_excluded_workers_are_passed_over_however_many_they_are(pool: PlacementScene) -> None:
    many = [WorkerId(f"{number:012d}") for number in range(40)]
    for worker in many:
        pool.worker(worker)
    pool.worker(A, cpu=0.9)
    assert pool.index.with_room([WaitingClass("x", BURN, frozenset(many))])
    assert workers_of(pool.place(BURN, "j1", excluded=many)) == [A]
    assert pool.place(BURN, "j2", excluded=many) == [FULL]
    assert not pool.index.with_room([WaitingClass("x", BURN, frozenset(many))])
    assert pool.has_room(BURN)


def test_several_runs_are_placed_in_their_order_in_one_call(pool: PlacementScene) -> None:
    pool.worker(A, tags=("fast",))
    pool.worker(B, cpu=0.5)
    fast = Requirement("burn", tags=("fast",))
    assert [workers_of(some) for some in pool.place_runs((fast, ["j1"]), (BURN, ["j2"]), (fast, ["j3"]))] == [
        [A],
        [B],
        [None],
    ]


def test_capacity_is_never_exceeded_under_concurrent_calls(pool: PlacementScene) -> None:
    for worker in (A, B):
        pool.worker(worker, slots=2, depth=1)
    pool.open(BURN)
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda number: pool.place(BURN, f"j{number}")[0], range(40)))
    assert sum(isinstance(place, Place) for place in given) == 6
    assert len(pool.leases(A)) == len(pool.leases(B)) == 3


def test_placing_and_releasing_at_once_leaves_every_score_as_if_nothing_had_been(pool: PlacementScene) -> None:
    for worker in (A, B, C):
        pool.worker(worker, slots=2, gpus=(10_000, 6_000))
    wish = Requirement("burn", min_vram_mb=4_000)
    pool.open(wish)
    before = pool.loads()

    def come_and_go(number: int) -> bool:
        place = pool.place(wish, f"j{number}")[0]
        if isinstance(place, Place):
            pool.release(place.worker, f"j{number}")
        return isinstance(place, Place)

    with ThreadPoolExecutor(6) as threads:
        assert any(threads.map(come_and_go, range(200)))
    assert pool.loads() == before
    assert all(set(members) == {A, B, C} for members in pool.sets().values())


def test_memory_is_reserved_where_it_leaves_least_and_given_back(pool: PlacementScene) -> None:
    pool.worker(A, slots=4, gpus=(8_000, 10_000))
    large = Requirement("burn", min_vram_mb=6_000)
    first, second, third = pool.place(large, "j1", "j2", "j3")
    assert (first, second, third) == (
        Place(A, Reservation(("aa-g0",), 6_000)),
        Place(A, Reservation(("aa-g1",), 6_000)),
        FULL,
    )
    assert not pool.has_room(Requirement("burn", min_vram_mb=5_000))
    assert workers_of(pool.place(Requirement("burn", min_vram_mb=3_000), "j4")) == [A]
    pool.release(A, "j1")
    assert pool.has_room(Requirement("burn", min_vram_mb=5_000))


def test_each_job_gets_exactly_the_memory_that_it_names(pool: PlacementScene) -> None:
    pool.worker(A, slots=4, gpus=(12_000,))
    amounts = (6_100, 4_200, 4_200)
    given = pool.place_runs(*((asking(mb), [f"j{number}"]) for number, mb in enumerate(amounts)))
    assert given == [[Place(A, Reservation(("aa-g0",), 6_100))], [Place(A, Reservation(("aa-g0",), 4_200))], [FULL]]


def asking(mebibytes: int) -> Requirement:
    return Requirement("burn", min_vram_mb=mebibytes)


def test_beyond_so_many_amounts_a_job_is_still_given_what_it_names(pool: PlacementScene) -> None:
    pool.worker(A, slots=100, gpus=(1_000_000,))
    amounts = [4_100 + 10 * number for number in range(80)]
    given = pool.place_runs(*((asking(mb), [f"j{mb}"]) for mb in amounts))
    assert [place.reserved.vram_mb for [place] in given if isinstance(place, Place)] == amounts
    assert len(pool.sets()) < 60


@pytest.mark.parametrize("kinds", [{8_000: 100}, {8_000: 10, 7_000: 10}], ids=["of one kind", "of several kinds"])
def test_beyond_so_many_amounts_a_job_finds_the_one_worker_of_many_that_has_what_it_names(
    pool: PlacementScene, kinds: dict[int, int]
) -> None:
    for card_mb, count in kinds.items():
        for number in range(count):
            free_5_000 = Memory(0, card_mb - 5_000, 5_000)
            pool.worker(f"{card_mb}{number:08d}", gpus=(card_mb,), memory=free_5_000)
    pool.worker(A, gpus=(8_000,), utilisation=1.0)
    for number in range(MOST_MEMORIES):
        pool.open(asking(4_100 + number))
    assert workers_of(pool.place(asking(6_000), "j1", "j2")) == [A, None]


def test_what_others_use_and_the_reserve_are_not_free(pool: PlacementScene) -> None:
    pool.fleet.policy = Policy(vram_reserve_mb=1_000)
    pool.worker(A, slots=2, gpus=(10_000,), memory=Memory(ours=0, others=4_032, free=5_968))
    assert pool.place(asking(4_969), "j1") == [FULL]
    assert workers_of(pool.place(asking(4_968), "j2")) == [A]


def test_a_driver_that_lists_no_processes_is_believed_what_is_free(pool: PlacementScene) -> None:
    pool.worker(A, slots=2, gpus=(10_000,), memory=Memory(free=6_032))
    assert pool.place(asking(5_800), "j1") == [FULL]
    assert workers_of(pool.place(asking(5_700), "j2")) == [A]
    pool.worker(A, slots=2, gpus=(10_000,), memory=Memory(free=300), running=("j2",))  # it uses what it reserved
    assert pool.place(asking(5_800), "j3") == [FULL]
    assert pool.place(Requirement("burn", min_vram_mb=17), "j4") == [FULL]
    assert workers_of(pool.place(Requirement("burn", min_vram_mb=16), "j5")) == [A]


def test_gpus_are_given_whole_and_to_nobody_else(pool: PlacementScene) -> None:
    pool.worker(A, slots=4, gpus=(8_000, 10_000, 12_000), workflows=(Workflow("burn", "python"), FREE))
    small = Requirement("burn", min_vram_mb=1_000)
    assert pool.place(small, "j1") == [Place(A, Reservation(("aa-g0",), 1_000))]
    assert pool.place(Requirement("burn", gpus=2), "j2") == [Place(A, Reservation(("aa-g1", "aa-g2"), whole=True))]
    assert pool.place(Requirement("burn", gpus=1), "j3") == [FULL]
    assert pool.place(small, "j4") == [Place(A, Reservation(("aa-g0",), 1_000))]
    assert pool.place(Requirement("free"), "j5") == [Place(A, Reservation(("aa-g0",)))]
    pool.release(A, "j1")
    pool.release(A, "j4")
    assert pool.place(Requirement("burn", gpus=1), "j6") == [Place(A, Reservation(("aa-g0",), whole=True))]


def test_a_job_that_names_nothing_takes_what_its_workflow_declares_else_a_whole_card(pool: PlacementScene) -> None:
    workflows = (Workflow("whole", "python"), Workflow("some", "python", vram_mb=3_000), FREE)
    pool.worker(A, slots=6, gpus=(8_000, 24_000), workflows=workflows)
    assert pool.place(Requirement("free"), "j1") == [Place(A, Reservation(("aa-g1",)))]
    assert pool.place(Requirement("some"), "j2") == [Place(A, Reservation(("aa-g0",), 3_000))]
    assert pool.place(Requirement("whole"), "j3") == [Place(A, Reservation(("aa-g1",), whole=True))]
    assert pool.place(Requirement("whole"), "j4") == [FULL]
    assert pool.place(Requirement("free"), "j5") == [Place(A, Reservation(("aa-g0",)))]


def test_a_job_without_any_need_is_placed_beside_whole_cards_and_sees_none(pool: PlacementScene) -> None:
    pool.worker(A, slots=2, gpus=(8_000,), workflows=(Workflow("whole", "python"), FREE))
    pool.place(Requirement("whole"), "j1")
    assert pool.place(Requirement("free"), "j2") == [Place(A)]


def test_a_worker_without_gpus_takes_what_declares_nothing(pool: PlacementScene) -> None:
    pool.worker(A)
    assert pool.place(BURN, "j1") == [Place(A)]


def test_a_card_of_unknown_memory_takes_only_whole_jobs_that_name_none(pool: PlacementScene) -> None:
    pool.worker(A, slots=3, gpus=(0,))
    assert pool.place(Requirement("burn", min_vram_mb=1), "j1") == [FULL]
    assert pool.place(Requirement("burn", gpus=1, min_vram_mb=1), "j2") == [FULL]
    assert pool.place(BURN, "j3") == [Place(A, Reservation(("aa-g0",), whole=True))]
    assert pool.place(BURN, "j4") == [FULL]


def test_of_whole_cards_those_are_given_that_others_leave_alone(pool: PlacementScene) -> None:
    pool.worker(A, slots=2, gpus=(24_000, 24_000), memory=Memory(ours=0, others=20_032, free=3_968))
    assert pool.place(BURN, "j1") == [Place(A, Reservation(("aa-g1",), whole=True))]


FILLED, EMPTY = Memory(0, 20_032, 3_968), Memory(0, 0, 24_000)
NEVER_FULL = Policy(others_vram_mb=65_536)


def test_a_card_that_others_fill_is_not_given_whole_until_they_let_go_of_it(pool: PlacementScene) -> None:
    pool.worker(A, slots=3, gpus=(24_000, 24_000), memory=FILLED)
    pair = Requirement("burn", gpus=2)
    assert not pool.has_room(pair) and pool.has_room(BURN)
    assert pool.place(pair, "j1") == [FULL]
    assert pool.place(BURN, "j2", "j3") == [Place(A, Reservation(("aa-g1",), whole=True)), FULL]
    assert workers_of(pool.place(Requirement("burn", min_vram_mb=3_000), "j4")) == [A]  # it takes what is left
    pool.release(A, "j2")
    pool.release(A, "j4")
    pool.worker(A, slots=3, gpus=(24_000, 24_000), memory=EMPTY)
    assert pool.place(pair, "j1") == [Place(A, Reservation(("aa-g0", "aa-g1"), whole=True))]


def test_a_change_of_what_others_may_hold_counts_with_the_next_headroom(pool: PlacementScene) -> None:
    pool.worker(A, gpus=(48_000,), memory=Memory(0, 20_032, 27_968))
    assert pool.place(BURN, "j1") == [FULL]
    pool.fleet.policy = NEVER_FULL
    pool.index.rebuild(whole=False)
    assert workers_of(pool.place(BURN, "j1")) == [A]


def test_a_headroom_of_an_older_leader_knows_no_limit_of_others(pool: PlacementScene) -> None:
    """While coordinators are upgraded both write: the script reads what either wrote."""
    pool.worker(A, gpus=(24_000,), memory=FILLED)
    assert pool.place(BURN, "j1") == [FULL]
    room = json.loads(pool.stores.redis.hget(KEYS.worker(A), "room"))
    room["cards"] = [card[:4] for card in room["cards"]]
    script(pool.stores.redis, "placement/refresh")(
        keys=[KEYS.lease(A), KEYS.worker(A), KEYS.load], args=[A, KEYS.eligible_prefix, json.dumps(room)]
    )
    assert workers_of(pool.place(BURN, "j1")) == [A]


def test_a_job_that_ran_out_of_memory_goes_to_a_card_with_more_free(pool: PlacementScene) -> None:
    pool.worker(A, gpus=(8_000,))
    pool.worker(B, gpus=(16_000,), utilisation=0.9)
    above = Requirement("burn", above_vram_mb=8_000)
    assert pool.place(above, "j1") == [Place(B, Reservation(("bb-g0",), whole=True))]
    assert pool.place(above, "j2") == [FULL]
    assert workers_of(pool.place(BURN, "j3")) == [A]


def test_a_workflow_takes_as_many_slots_as_it_declares(pool: PlacementScene) -> None:
    pool.worker(A, slots=4, workflows=(Workflow("wide", "python", slots=3), Workflow("burn", "python")))
    assert pool.place(Requirement("wide"), "j1", "j2") == [Place(A, Reservation((), slots=3)), FULL]
    assert workers_of(pool.place(BURN, "j3", "j4")) == [A, None]
    pool.release(A, "j1")
    assert workers_of(pool.place(Requirement("wide"), "j5")) == [A]


def test_a_place_behind_the_slots_comes_after_every_free_slot(pool: PlacementScene) -> None:
    pool.worker(A, depth=2, tags=("liked",))
    pool.worker(B, depth=2, cpu=1.0)
    wish = Requirement("burn", prefers=(("liked", 1.0),))
    given = pool.place(wish, "j1", "j2", "j3")
    assert workers_of(given) == [A, B, A]
    assert [place.record["queued"] for place in given if isinstance(place, Place)] == [False, False, True]


def test_release_with_another_attempt_changes_nothing(pool: PlacementScene) -> None:
    pool.worker(A)
    pool.place(BURN, "j1")
    pool.release(A, "j1", attempt=2)
    assert pool.leases(A) == {JobId("j1"): LeaseState.GIVEN}
    assert pool.sets() == {}
    pool.release(A, "j1")
    assert pool.leases(A) == {}
    assert pool.has_room(BURN)


def test_a_revoked_lease_holds_its_slot_and_an_ended_one_does_not(pool: PlacementScene) -> None:
    pool.worker(A)
    pool.place(BURN, "j1")
    with pool.marks() as batch:
        batch.revoked(A, JobId("j1"), 1, Revocation.CANCEL, 5)
    assert pool.sets() == {}
    with pool.marks() as batch:
        batch.ended(A, JobId("j1"), 1)
    assert pool.has_room(BURN)


def test_a_lease_never_goes_back(pool: PlacementScene) -> None:
    pool.worker(A)
    pool.place(BURN, "j1")
    with pool.marks() as batch:
        batch.revoked(A, JobId("j1"), 1, Revocation.CANCEL)
        batch.claimed(A, JobId("j1"), 1, "nonce")
        batch.revoked(A, JobId("j1"), 1, Revocation.TAKEN)
    lease = pool.stores.live.leases(A)[JobId("j1")]
    assert (lease.state, lease.why) == (LeaseState.REVOKED, "cancel")


def test_a_mark_of_a_lower_attempt_changes_nothing(pool: PlacementScene) -> None:
    pool.worker(A)
    with pool.marks() as batch:
        batch.given(A, JobId("j1"), 2, Reservation())
        batch.ended(A, JobId("j1"), 1)
    assert pool.leases(A) == {JobId("j1"): LeaseState.GIVEN}


def test_a_lease_that_redis_forgot_holds_again_what_it_held(pool: PlacementScene) -> None:
    pool.worker(A, slots=2, gpus=(10_000, 10_000))
    pool.open(BURN)
    with pool.marks() as batch:
        batch.claimed(A, JobId("j1"), 1, "nonce", Reservation(("aa-g0",), whole=True))
        batch.given(A, JobId("j2"), 1, Reservation(("aa-g1",), vram_mb=9_000))
    assert pool.sets() == {}
    with pool.marks() as batch:
        batch.ended(A, JobId("j1"), 1)
    assert pool.place(BURN, "j3") == [Place(A, Reservation(("aa-g0",), whole=True))]


def test_a_job_is_not_placed_where_an_older_attempt_of_it_may_still_run(pool: PlacementScene) -> None:
    pool.worker(A, slots=2)
    pool.place(BURN, "j1")
    again = waiting("j1", attempt=2)
    assert pool.place(BURN, again) == [OLDER]
    assert pool.place(BURN, again, "j2", "j3") == [OLDER, Place(A), FULL]
    pool.release(A, "j2")
    with pool.marks() as batch:
        batch.ended(A, JobId("j1"), 1)
    assert workers_of(pool.place(BURN, again)) == [A]


def test_two_leaders_that_place_at_once_never_give_a_slot_twice(pool: PlacementScene) -> None:
    pool.worker(A)
    pool.open(BURN)
    other = pool.other_leader()
    with ThreadPoolExecutor(2) as threads:
        given = list(threads.map(lambda leader: leader.place(BURN, f"j{id(leader)}")[0], (pool, other)))
    assert sorted(place is FULL for place in given) == [False, True]


def test_a_worker_that_stands_in_a_set_by_mistake_is_given_nothing_and_leaves_it(pool: PlacementScene) -> None:
    pool.worker(A)
    pool.open(BURN)
    (name,) = pool.sets()
    pool.place(BURN, "j1")
    pool.stores.redis.zadd(name, {A: 0.0, B: 0.0})  # full, and unknown
    assert pool.place(BURN, "j2") == [FULL]
    assert pool.sets() == {}


def test_a_worker_of_another_kind_that_stands_in_a_set_by_mistake_is_given_nothing(pool: PlacementScene) -> None:
    fast = Requirement("burn", tags=("fast",))
    pool.worker(A, tags=("fast",))
    pool.worker(B)
    pool.open(fast)
    (name,) = (name for name, members in pool.sets().items() if A in members)
    pool.stores.redis.zadd(name, {B: -1.0})
    assert workers_of(pool.place(fast, "j1", "j2")) == [A, None]


def test_who_may_not_be_given_jobs_leaves_every_set_and_comes_back(pool: PlacementScene) -> None:
    pool.worker(A)
    pool.open(BURN)
    pool.worker(A, leaving=True)
    assert pool.sets() == {}
    assert A in pool.loads()
    pool.worker(A)
    assert workers_of(pool.place(BURN, "j1")) == [A]
    pool.gone(A)
    assert A not in pool.loads()


def test_every_placement_says_why_its_worker_won(pool: PlacementScene) -> None:
    for worker, cpu in ((A, 0.0), (B, 0.2), (C, 0.4)):
        pool.worker(worker, slots=2, cpu=cpu)
    place = pool.place(BURN, "j1")[0]
    assert isinstance(place, Place)
    record: dict[str, Any] = dict(place.record)
    assert record["strategy"] == "least-loaded"
    assert record["load"] == pytest.approx(record["score"], abs=0.001) == 0
    assert record["parts"]["gpu"] == {"share": 0.0, "measured": True}
    assert record["parts"]["queue"] == {"share": 0.0, "measured": True}
    assert [other["worker"] for other in record["runners_up"]] == [B, C]
    assert [other["score"] for other in record["runners_up"]] == pytest.approx([0.1, 0.2], abs=0.001)


def test_what_only_a_worker_that_was_removed_could_run_has_no_sets_any_more(pool: PlacementScene) -> None:
    pool.worker(A)
    pool.open(BURN)
    del pool.fleet.workers[A]
    pool.index.rebuild(whole=False)
    pool.stores.redis.config_resetstat()
    assert not pool.has_room(BURN)
    assert "cmdstat_zrange" not in pool.stores.redis.info("commandstats")
