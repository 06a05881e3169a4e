"""Load and room of a worker, and why a job waits."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

import pytest

from app.coordinator.placement.headroom import Mean, Means, headroom, means
from app.coordinator.placement.index_plan import Membership
from app.coordinator.placement.unschedulable import why_waiting
from app.pool.capacity import Card, Need, Room, capacity_refusal, need, takes, unfit
from app.pool.capacity import room as capacity_room
from app.pool.matching import Refusal, RefusedBy
from app.pool.model import Gpu, Health, Intent, JobId, Requirement, Worker, WorkerId, Workflow
from app.pool.policy import DEFAULTS, Policy
from app.pool.protocol import AttemptRef, Beat, GpuFigures, Lease, LeaseState, Memory
from app.pool.status import Clause
from app.pool.wanted import wanted_of

BURN = Requirement("burn")
CARD = Gpu("g0", 0, "card", 10_000)
WORKER = Worker(
    id=WorkerId("w" * 12),
    name="render-1",
    hostname="render-1",
    host_id="h",
    boot_id="b",
    incarnation=1,
    health=Health.HEALTHY,
    intent=Intent.ACTIVE,
    slots=2,
    workflows=(Workflow("burn", "python"), Workflow("upscale", "python", vram_mb=4000)),
)


MODELS = (("a", "x"), ("b", "x"), ("c", "x"), ("d", "y"), ("e", "z"))


def beat(*gpus: GpuFigures, **rest: Any) -> Beat:
    return Beat(WORKER.id, 1, 1, 15000, 35000, "b", 2, 2, gpus=gpus, **rest)


def room_of(worker: Worker, said: Beat, found: Means, policy: Policy = DEFAULTS) -> dict[str, Any]:
    entry = Membership("set", Need(), "load")
    facts: dict[str, Any] = json.loads(headroom(worker, said, [entry], policy, found))
    return facts


def test_a_part_that_nobody_measured_takes_the_mean_of_comparable_workers() -> None:
    workers = {WorkerId(name): replace(WORKER, id=WorkerId(name), gpu_model=model) for name, model in MODELS}
    shares = {"a": 0.2, "b": 0.6, "c": None, "d": 1.0, "e": None}
    beats = [replace(beat(GpuFigures("g0", 0, utilisation=share)), worker=WorkerId(n)) for n, share in shares.items()]
    found = means(workers, beats)
    assert room_of(workers[WorkerId("c")], beats[2], found)["gpu"] == 0.4  # of the same model
    assert room_of(workers[WorkerId("e")], beats[4], found)["gpu"] == 0.6  # none of its model has it
    assert room_of(workers[WorkerId("e")], beats[4], found)["gpu_mean"]
    measured = room_of(workers[WorkerId("a")], beats[0], found)
    assert (measured["gpu"], "gpu_mean" in measured) == (0.2, False)


def test_where_no_worker_measures_a_part_the_others_weigh_more() -> None:
    facts = room_of(WORKER, beat(), Means())
    assert "gpu" not in facts and "vram" not in facts
    assert facts["weights"] == [0, 1, 0]
    assert room_of(WORKER, beat(), Means(), Policy(w_queue=0.0))["weights"] == [0, 1, 0]
    weights = room_of(WORKER, beat(), Means(Mean(0.5, None)), Policy(w_gpu=0.2, w_queue=0.6))["weights"]
    assert weights == pytest.approx([0.25, 0.75, 0])


def test_the_use_of_a_worker_without_gpus_is_that_of_its_cpus() -> None:
    assert room_of(WORKER, beat(cpu=0.5), means({WORKER.id: WORKER}, [beat(cpu=0.5)]))["gpu"] == 0.5


def test_a_room_says_what_others_and_we_use_of_each_card_and_what_nobody_measured() -> None:
    worker = replace(WORKER, gpus=(CARD, replace(CARD, uuid="g1"), replace(CARD, uuid="g2")))
    said = beat(
        GpuFigures("g0", 0, vram_mb=10_000, memory=Memory(ours=100, others=5_000, free=4_900)),
        GpuFigures("g1", 1, vram_mb=10_000, memory=Memory(free=4_000)),
    )
    running = replace(said, attempts=(AttemptRef(JobId("j" * 12), 1, 0),))
    cards = room_of(worker, said, Means())["cards"]
    assert cards == [["g0", 10_000, 5_056, 128, 2_048], ["g1", 10_000, 6_016, 0, 2_048], ["g2", 10_000, 0, -2, 2_048]]
    assert room_of(worker, running, Means())["cards"][1] == ["g1", 10_000, 6_016, -1, 2_048]


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (BURN, Need(cards=1)),
        (Requirement("upscale"), Need(vram_mb=4_000, least_mb=4_000)),
        (Requirement("upscale", min_vram_mb=6_000), Need(vram_mb=6_000, least_mb=6_000)),
        (Requirement("upscale", min_vram_mb=0), Need()),
        (Requirement("upscale", gpus=2), Need(cards=2)),
        (Requirement("upscale", gpus=2, min_vram_mb=900), Need(cards=2, least_mb=900)),
        (Requirement("wide"), Need(slots=2)),
    ],
)
def test_a_job_takes_what_it_names_else_what_its_workflow_declares(requirement: Requirement, expected: Need) -> None:
    wide = Workflow("wide", "python", slots=2, vram_mb=0)
    assert need(replace(WORKER, gpus=(CARD,), workflows=(*WORKER.workflows, wide)), requirement) == expected


def test_without_gpus_a_job_that_names_nothing_takes_none() -> None:
    assert need(WORKER, BURN) == Need()


def test_why_a_worker_has_no_room_now_is_said_in_words() -> None:
    worker = replace(WORKER, gpus=(CARD,))
    lease = Lease(attempt=1, state=LeaseState.CLAIMED, gpus=("g0",), vram_mb=6_000)
    measured = beat(GpuFigures("g0", 0, memory=Memory(0, 0)))
    has = capacity_room(worker, measured, {JobId("j1"): lease}, Policy())
    assert has == Room(2, 2, 1, (Card("g0", 9_744, 6_000, held=True, size_mb=10_000),))
    assert capacity_refusal(has, Need(vram_mb=3_000, least_mb=3_000)) is None
    small = capacity_refusal(has, Need(vram_mb=4_000, least_mb=4_000))
    assert small == Refusal(RefusedBy.FREE_VRAM, Clause("has", "3744 MiB free on one GPU, less than 4000"))
    assert capacity_refusal(has, Need(cards=1)) == Refusal(
        RefusedBy.CARDS, Clause("has", "0 free GPUs of 1, 1 are needed")
    )
    assert capacity_refusal(has, Need(slots=2)) == Refusal(
        RefusedBy.SLOTS, Clause("has", "1 free slots of 2, 2 are needed")
    )
    assert capacity_refusal(replace(has, held=2), Need()) == Refusal(RefusedBy.SLOTS, Clause("is", "full (2 of 2)"))


def test_a_card_of_which_nobody_knows_what_is_in_use_is_only_given_whole() -> None:
    has = capacity_room(replace(WORKER, gpus=(CARD,)), beat(), {}, Policy())
    unknown = capacity_refusal(has, Need(vram_mb=3_000, least_mb=3_000))
    assert unknown == Refusal(
        RefusedBy.FREE_VRAM, Clause("does", "not say how much is free on its GPUs, 3000 MiB are needed")
    )
    assert capacity_refusal(has, Need(cards=1)) is None


def in_use(others_mb: int, *gpus: Gpu) -> Beat:
    """A beat in which others hold so much of each of these cards."""
    return beat(*(GpuFigures(gpu.uuid, gpu.index, memory=Memory(0, others_mb)) for gpu in gpus))


@pytest.mark.parametrize(
    ("size_mb", "others_mb", "given"),
    [
        (46_068, 45_000, False),
        (46_068, 2_048, True),  # the default: a desktop
        (46_068, 2_049, False),
        (46_068, 0, True),
        (3_000, 1_472, True),  # at most half of a card that is smaller than the setting allows for
        (3_000, 1_600, False),
        (1_024, 1_024, False),  # the setting is larger than the card
    ],
)
def test_a_whole_card_is_given_only_while_others_hold_little_of_it(size_mb: int, others_mb: int, given: bool) -> None:
    card = replace(CARD, vram_mb=size_mb)
    has = capacity_room(replace(WORKER, gpus=(card,)), in_use(others_mb, card), {}, Policy())
    assert (capacity_refusal(has, Need(cards=1)) is None) is given


def test_how_much_others_may_hold_of_a_whole_card_is_as_people_set_it() -> None:
    has = capacity_room(replace(WORKER, gpus=(CARD,)), in_use(4_000, CARD), {}, Policy(others_vram_mb=4_000))
    assert capacity_refusal(has, Need(cards=1)) is None
    strict = capacity_room(replace(WORKER, gpus=(CARD,)), in_use(500, CARD), {}, Policy(others_vram_mb=256))
    assert capacity_refusal(strict, Need(cards=1)) is not None


def test_a_job_without_a_card_of_its_own_runs_beside_whatever_others_hold() -> None:
    has = capacity_room(replace(WORKER, gpus=(CARD,)), in_use(9_000, CARD), {}, Policy())
    assert capacity_refusal(has, Need()) is None
    assert capacity_refusal(has, Need(vram_mb=500, least_mb=500)) is None


def test_memory_that_our_jobs_hold_is_not_others() -> None:
    """Also where the driver does not say whose it is, as long as it was reserved."""
    worker = replace(WORKER, gpus=(CARD, replace(CARD, uuid="g1", index=1)))
    running = (AttemptRef(JobId("j" * 12), 1, 0),)
    unlisted = beat(*(GpuFigures(gpu.uuid, 0, memory=Memory(free=4_000)) for gpu in worker.gpus), attempts=running)
    lease = Lease(attempt=1, state=LeaseState.CLAIMED, gpus=("g0",), vram_mb=6_000)
    ours, unknown = capacity_room(worker, unlisted, {JobId("j1"): lease}, Policy()).cards
    assert (ours.crowded, unknown.crowded) == (False, True)
    told = beat(GpuFigures("g0", 0, memory=Memory(9_000, 100)))
    assert not capacity_room(replace(WORKER, gpus=(CARD,)), told, {}, Policy()).cards[0].crowded


def test_that_others_fill_a_whole_card_is_said_in_words() -> None:
    two = (replace(CARD, vram_mb=46_068), replace(CARD, uuid="g1", index=1, vram_mb=24_000))
    worker, said = replace(WORKER, gpus=two), in_use(12_032, *two)
    refused = capacity_refusal(capacity_room(worker, said, {}, Policy()), Need(cards=1))
    others = "others hold 12032 of 46068, 12032 of 24000 MiB"
    assert refused == Refusal(RefusedBy.CARDS, Clause("has", f"0 free GPUs of 2, 1 are needed: {others}"))
    idle = replace(worker, id=WorkerId("x" * 12), name="render-2")
    beats = {worker.id: said, idle.id: in_use(0, *two)}
    waits = partial(why_waiting, groups=(), policy=Policy(), beats=beats)
    crowded = waits(BURN, workers=[worker]).words
    assert crowded == f"waits for a free slot and a GPU of its own: on render-1 {others}"
    assert waits(BURN, workers=[worker, idle]).words == f"{crowded}; render-2 is busy"
    shared = waits(replace(BURN, min_vram_mb=40_000), workers=[worker]).words
    assert shared == f"waits for a free slot on a card with enough memory free: on render-1 {others}"
    assert waits(replace(BURN, min_vram_mb=900), workers=[worker]).words.endswith("memory free: render-1 is busy")


def test_what_the_driver_keeps_is_nobody_s_to_give() -> None:
    worker = replace(WORKER, gpus=(CARD,))
    kept = beat(GpuFigures("g0", 0, memory=Memory(1_000, 2_000, CARD.vram_mb - 3_480)))
    [card] = capacity_room(worker, kept, {}, Policy(vram_reserve_mb=0)).cards
    assert card.usable_mb == CARD.vram_mb - 2_496  # of 2,480 that others have or nobody has, in steps of 64


def test_places_behind_slots_are_for_jobs_of_one_slot_beside_such_jobs() -> None:
    has = Room(2, 3, 2)
    assert capacity_refusal(has, Need()) is None
    assert capacity_refusal(replace(has, wide=True), Need()) == Refusal(RefusedBy.SLOTS, Clause("is", "full (2 of 2)"))
    assert capacity_refusal(replace(has, held=1), Need(slots=2)) is not None


def test_what_no_idle_worker_could_hold_fits_nobody() -> None:
    two = replace(WORKER, gpus=(CARD, replace(CARD, uuid="g1", index=1, vram_mb=8_000)))
    assert unfit(two, replace(BURN, min_vram_mb=CARD.vram_mb - 256), Policy()) is None
    for asked in (replace(BURN, min_vram_mb=CARD.vram_mb), replace(BURN, min_vram_mb=9_000, gpus=2)):
        refused = unfit(two, asked, Policy())
        assert refused is not None and refused.why.endswith("even when idle")
    declared = Workflow("burn", "python", slots=3)
    wide = unfit(replace(WORKER, slots=2, workflows=(declared,)), BURN, Policy())
    assert wide == Refusal(RefusedBy.SIZE, Clause("has", "2 free slots of 2, 3 are needed, even when idle"))
    assert why(BURN, [replace(WORKER, workflows=(declared,))]).startswith("no worker fits: 1 has")


@pytest.mark.parametrize(
    ("worker", "leaving"),
    [
        (replace(WORKER, health=Health.DEGRADED), False),
        (replace(WORKER, intent=Intent.PAUSED), False),
        (WORKER, True),
    ],
)
def test_who_may_not_be_given_jobs_is_given_none(worker: Worker, leaving: bool) -> None:
    assert not takes(worker, beat(leaving=leaving))
    assert takes(WORKER, beat())


def why(requirement: Requirement, workers: list[Worker]) -> str:
    """Why such a job waits in this fleet."""
    return why_waiting(requirement, (), workers, Policy()).words


def test_a_job_says_why_it_waits() -> None:
    left = replace(WORKER, health=Health.LEFT, last_heartbeat=datetime(2026, 1, 1, 19, 2, tzinfo=timezone.utc))
    assert why(BURN, []) == "no worker has joined the pool yet"
    assert why(Requirement("render"), [WORKER]) == "no worker offers render"
    assert why(Requirement("burn", tags=("fast",)), [WORKER]) == "no worker fits: 1 lacks fast"
    twice = [WORKER, replace(WORKER, id=WorkerId("y" * 12))]
    assert why(Requirement("burn", tags=("fast",)), twice) == "no worker fits: 2 lack fast"
    assert why(BURN, [WORKER]) == "waits for a free slot: render-1 is full"
    alone = why(BURN, [left])
    assert alone == "its worker render-1 said good-bye at 19:02 UTC; no other can run it"
    assert why_waiting(
        BURN, (), [left, replace(WORKER, id=WorkerId("x" * 12), health=Health.DOWN)], Policy()
    ).words == ("no worker that could run it takes jobs now: render-1 has left; render-1 is down")


def test_what_is_wanted_of_a_worker_is_the_policy_s_unless_it_has_its_own() -> None:
    policy = Policy(heartbeat_interval_s=2, queue_depth=3)
    assert wanted_of(WORKER, policy, 1).queue_depth == 3
    assert wanted_of(replace(WORKER, queue_depth=0), policy, 1).queue_depth == 0
    assert wanted_of(WORKER, policy, 1).interval_ms == 2000
