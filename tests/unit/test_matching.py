"""Who may take what, and the reasons in words."""

from dataclasses import replace

import pytest

from app.pool import matching
from app.pool.model import Gpu, Health, Intent, Requirement, Worker, WorkerId, Workflow

WORKER = Worker(
    id=WorkerId("wa"),
    name="render-1",
    hostname="host",
    host_id="h",
    boot_id="b",
    incarnation=1,
    health=Health.HEALTHY,
    intent=Intent.ACTIVE,
    slots=1,
    gpus=(Gpu("GPU-1", 0, "X", 8192), Gpu("GPU-2", 1, "X", 24576)),
    workflows=(Workflow("transcode", "python"), Workflow("burn", "python")),
    tags=("fast",),
    dynamic_tags=("model:sdxl",),
    groups=("day",),
)


@pytest.mark.parametrize(
    "requirement",
    [
        Requirement("transcode"),
        Requirement("transcode", tags=("fast", "model:sdxl"), group="day", min_vram_mb=24576, gpus=2),
        Requirement("burn", prefers=(("elsewhere", 1.0),)),
        Requirement("burn", only_workers=(WorkerId("wa"),)),
    ],
)
def test_a_worker_that_has_everything_is_not_refused(requirement: Requirement) -> None:
    assert matching.refusal(WORKER, requirement) is None


@pytest.mark.parametrize(
    ("requirement", "name", "words"),
    [
        (Requirement("paint"), "workflow", "paint"),
        (Requirement("burn", tags=("fast", "quiet", "warm")), "tags", "quiet, warm"),
        (Requirement("burn", group="night"), "group", "night"),
        (Requirement("burn", min_vram_mb=30000), "vram", "24576"),
        (Requirement("burn", gpus=3), "gpus", "2 GPUs"),
        (Requirement("burn", only_workers=(WorkerId("wb"),)), "only", "named"),
        (Requirement("burn", exclude_workers=(WorkerId("wa"),)), "excluded", "excluded"),
    ],
)
def test_the_first_filter_that_refuses_says_why(requirement: Requirement, name: str, words: str) -> None:
    refusal = matching.refusal(WORKER, requirement)

    assert refusal is not None
    assert refusal.filter == name
    assert words in refusal.why


def test_a_worker_without_tags_runs_all_it_has_programs_for() -> None:
    plain = replace(WORKER, tags=(), dynamic_tags=(), groups=())

    assert matching.refusal(plain, Requirement("transcode")) is None


def test_an_empty_workflow_list_narrows_nothing_and_a_named_one_does() -> None:
    narrowed = replace(WORKER, allowed_workflows=("burn",))

    assert matching.refusal(narrowed, Requirement("burn")) is None
    assert matching.refusal(narrowed, Requirement("transcode")) is not None


def test_a_worker_that_is_blocked_for_a_workflow_is_refused_for_that_one_alone() -> None:
    blocked = replace(WORKER, blocked={"burn": "until 14:05 UTC (3 failures in a row while others succeed)"})

    assert matching.refusal(blocked, Requirement("transcode")) is None
    refused = matching.refusal(blocked, Requirement("burn"))
    assert refused is not None and (refused.filter, refused.why) == (
        "blocked",
        "blocked for burn on render-1 until 14:05 UTC (3 failures in a row while others succeed)",
    )
