"""Load and room of a worker, and why a job waits."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from app.coordinator.rooms import Means, means, room
from app.coordinator.waiting import why_waiting
from app.coordinator.wanted import wanted_of
from app.pool.model import Gpu, Health, Intent, Requirement, Worker, WorkerId, Workflow
from app.pool.policy import Policy
from app.pool.protocol import Beat, GpuFigures, Memory

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


def beat(*gpus: GpuFigures, **rest: Any) -> Beat:
    return Beat(WORKER.id, 1, 1, 15000, 35000, "b", 2, 2, gpus=gpus, **rest)


def room_of(worker: Worker, said: Beat, mean: Means, **classes: Requirement) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(room(worker, said, classes, 0, mean, 0.0))
    return found


def test_a_part_that_nobody_measured_takes_the_mean_of_those_that_have_it() -> None:
    figures = [GpuFigures("g0", 0, utilisation=share) for share in (0.2, 0.6)]
    mean = means([beat(figures[0]), beat(figures[1]), beat()])
    assert mean.utilisation == pytest.approx(0.4)
    assert mean.vram is None
    measured, unmeasured = room_of(WORKER, beat(figures[1]), mean), room_of(WORKER, beat(), mean)
    assert measured["base"] > unmeasured["base"] > 0


def test_where_no_worker_measures_a_part_the_others_weigh_more() -> None:
    facts = room_of(WORKER, beat(), Means(None, None))
    assert facts["base"] == 0
    assert facts["per_held"] * WORKER.slots == 1


def test_memory_that_others_use_is_load_and_is_not_free() -> None:
    worker = replace(WORKER, gpus=(CARD,))
    said = beat(GpuFigures("g0", 0, vram_mb=10_000, memory=Memory(ours=0, others=5_000, free=5_000)))
    facts = room_of(worker, said, means([said]))
    assert facts["gpus"] == [["g0", 10_000 - 5_056]]
    assert facts["base"] == pytest.approx(facts["per_mb"] * 5_056, abs=0.001)


def test_a_class_names_the_memory_that_its_workflow_declares_unless_its_jobs_say() -> None:
    worker = replace(WORKER, gpus=(CARD,))
    facts = room_of(
        worker,
        beat(),
        Means(None, None),
        burn=BURN,
        upscale=Requirement("upscale"),
        large=Requirement("upscale", min_vram_mb=6_000),
        other=Requirement("render"),
    )
    assert facts["classes"] == {"burn": 0, "upscale": 4_000, "large": 6_000}


@pytest.mark.parametrize(
    ("worker", "leaving"),
    [
        (replace(WORKER, health=Health.DEGRADED), False),
        (replace(WORKER, intent=Intent.PAUSED), False),
        (WORKER, True),
    ],
)
def test_who_may_not_be_given_jobs_is_in_no_class(worker: Worker, leaving: bool) -> None:
    assert room_of(worker, beat(leaving=leaving), Means(None, None), burn=BURN)["classes"] == {}


def test_a_job_says_why_it_waits() -> None:
    left = replace(WORKER, health=Health.LEFT, last_heartbeat=datetime(2026, 1, 1, 19, 2, tzinfo=timezone.utc))
    assert why_waiting(BURN, []) == "no worker has joined the pool yet"
    assert why_waiting(Requirement("render"), [WORKER]) == "no worker offers render"
    assert why_waiting(Requirement("burn", tags=("fast",)), [WORKER]) == "no worker fits: 1 lacks fast"
    assert why_waiting(BURN, [WORKER]) == "waits for a free slot: render-1 is full"
    assert why_waiting(BURN, [left]) == "its worker render-1 said good-bye at 19:02 UTC; no other can run it"
    assert why_waiting(BURN, [left, replace(WORKER, id=WorkerId("x" * 12), health=Health.DOWN)]) == (
        "no worker that could run it takes jobs now: render-1 is left; render-1 is down"
    )


def test_what_is_wanted_of_a_worker_is_the_policy_s_unless_it_has_its_own() -> None:
    policy = Policy(heartbeat_interval_s=2, queue_depth=3)
    assert wanted_of(WORKER, policy, 1).queue_depth == 3
    assert wanted_of(replace(WORKER, queue_depth=0), policy, 1).queue_depth == 0
    assert wanted_of(WORKER, policy, 1).interval_ms == 2000
