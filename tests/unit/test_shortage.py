"""How much of its card's memory an attempt could have had."""

from __future__ import annotations

import pytest

from app.coordinator.attempts.gpu_oom import had_mb
from app.pool.model import Gpu, Health, Intent, JobId, Worker, WorkerId
from app.pool.protocol import Beat, GpuFigures, Lease, LeaseState, Memory

SMALL, LARGE = Gpu("GPU-1", 0, "X", 8192), Gpu("GPU-2", 1, "X", 24576)
JOB, OTHER, ENDED = JobId("a" * 12), JobId("b" * 12), JobId("c" * 12)
HELD = {
    JOB: Lease(attempt=1, state=LeaseState.CLAIMED, gpus=("GPU-1",), vram_mb=3000),
    OTHER: Lease(attempt=1, state=LeaseState.CLAIMED, gpus=("GPU-1", "GPU-2"), vram_mb=2000),
    ENDED: Lease(attempt=1, state=LeaseState.ENDED, gpus=("GPU-1",), vram_mb=1000),
}


def worker(*gpus: Gpu) -> Worker:
    return Worker(WorkerId("w"), "w", "h", "h", "b", 1, Health.HEALTHY, Intent.ACTIVE, 4, gpus=gpus)


def beat(*others_mb: int | None) -> Beat:
    figures = [
        GpuFigures(gpu.uuid, gpu.index, memory=Memory(others=mb))
        for gpu, mb in zip((SMALL, LARGE), others_mb, strict=False)
    ]
    return Beat(WorkerId("w"), 1, 1, 1, 1, "b", 1, 1, gpus=tuple(figures))


def test_what_others_and_other_attempts_take_was_not_its_own() -> None:
    assert had_mb(worker(SMALL, LARGE), beat(500, 0), HELD, JOB) == 8192 - 512 - 2000


@pytest.mark.parametrize("measured", [None, beat(), beat(None)])
def test_where_nobody_could_measure_it_is_the_cards_total(measured: Beat | None) -> None:
    assert had_mb(worker(SMALL), measured, {JOB: HELD[JOB]}, JOB) == 8192


def test_of_several_cards_it_is_the_largest_figure() -> None:
    assert had_mb(worker(SMALL, LARGE), beat(0, 3072), {OTHER: HELD[OTHER]}, OTHER) == 24576 - 3072


def test_a_lease_that_is_gone_leaves_all_cards_of_the_worker() -> None:
    assert had_mb(worker(SMALL, LARGE), beat(0, 20000), {}, JOB) == 8192


def test_without_a_card_nobody_knows() -> None:
    assert had_mb(worker(), None, {}, JOB) is None


def test_it_is_never_below_nothing() -> None:
    assert had_mb(worker(SMALL), beat(9000), {}, JOB) == 0
