"""A worker is kept for a job that needs much at once: from whom, for how long, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.ledger import jobs
from app.pool.model import JobState, Requirement
from tests.kit.actors import submit
from tests.kit.coordinator_scene import BELL, CARD, FAST, CoordinatorScene, begun, end, state
from tests.kit.peer import Peer

SMALL, LARGE = Requirement("burn", min_vram_mb=8_000), Requirement("burn", min_vram_mb=20_000)


def test_a_job_for_much_memory_is_not_starved_by_small_ones(scene: CoordinatorScene) -> None:
    peer = scene.wide(3, "render-1", CARD)
    runs = [scene.running(peer, requirement=SMALL) for _ in range(2)]
    large = submit(scene.ledger, LARGE)
    scene.later(1, peer)  # it is found out to be large
    late = [submit(scene.ledger, SMALL) for _ in range(3)]
    for order in runs:
        end(scene, peer, order)
    assert state(scene, large, *late) == [JobState.ASSIGNED, *[JobState.PENDING] * 3]
    end(scene, peer, begun(scene, peer))
    assert state(scene, *late) == [JobState.ASSIGNED, JobState.ASSIGNED, JobState.PENDING]


def test_a_job_is_not_starved_either_where_a_smaller_one_of_its_class_would_fit(scene: CoordinatorScene) -> None:
    peer = scene.wide(3, "render-1", CARD)
    run = scene.running(peer, requirement=Requirement("burn", min_vram_mb=13_000))
    large = submit(scene.ledger, Requirement("burn", min_vram_mb=12_000))
    scene.later(2, peer)
    late = submit(scene.ledger, Requirement("burn", min_vram_mb=2_000))
    scene.leader.step(BELL)
    assert state(scene, large, late) == [JobState.PENDING] * 2
    end(scene, peer, run)
    assert state(scene, large) == [JobState.ASSIGNED]


def test_while_a_worker_is_kept_the_others_say_for_whom(scene: CoordinatorScene) -> None:
    peer = scene.wide(3, "render-1", CARD)
    scene.running(peer, requirement=SMALL)
    large = submit(scene.ledger, LARGE)
    scene.later(1, peer)
    late = submit(scene.ledger, SMALL)
    scene.later(1, peer)
    assert scene.job(late.id).waiting == (
        f"waits for a free slot: render-1 is kept for job {large.id}, which comes first and needs more"
    )
    jobs.cancel(scene.ledger, large.id)
    scene.leader.step(BELL)
    assert state(scene, late) == [JobState.ASSIGNED]


def test_who_could_not_run_on_the_kept_worker_is_not_told_of_it(scene: CoordinatorScene) -> None:
    peer = scene.wide(3, "render-1", CARD)
    scene.running(peer, requirement=SMALL)
    submit(scene.ledger, LARGE)
    other = scene.peer("render-2")
    scene.set_up(other, tags=("fast",))
    first, second = submit(scene.ledger, FAST), submit(scene.ledger, FAST)
    late = submit(scene.ledger, SMALL)
    scene.later(2, peer, other)
    assert scene.job(first.id).worker == other.id
    assert scene.job(second.id).waiting == "waits for a free slot: render-2 is full"
    assert "render-1 is kept for job" in (scene.job(late.id).waiting or "")


def test_who_comes_before_a_large_job_is_not_kept_out_for_it(scene: CoordinatorScene) -> None:
    peer = scene.wide(3, "render-1", CARD)
    scene.running(peer, requirement=SMALL)
    submit(scene.ledger, LARGE, priority=10)
    scene.later(1, peer)
    urgent = submit(scene.ledger, SMALL)
    scene.leader.step(BELL)
    assert state(scene, urgent) == [JobState.ASSIGNED]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_new_leader_keeps_a_worker_too(scene: CoordinatorScene, restarted: bool) -> None:
    peer = scene.wide(3, "render-1", CARD)
    run = scene.running(peer, requirement=SMALL)
    large = submit(scene.ledger, LARGE)
    scene.later(1, peer)
    if restarted:
        scene.new_leader()
        scene.step()
        scene.later(1, peer)
    late = submit(scene.ledger, SMALL)
    scene.leader.step(BELL)
    assert state(scene, late) == [JobState.PENDING]
    end(scene, peer, run)
    assert state(scene, large) == [JobState.ASSIGNED]


def test_a_large_job_is_not_starved_where_places_stand_behind_the_slots(scene: CoordinatorScene) -> None:
    peer = scene.wide(2, "render-1", CARD)
    scene.set_up(peer, slots=2, queue_depth=1)
    runs = [scene.running(peer, requirement=SMALL) for _ in range(2)]
    large = submit(scene.ledger, LARGE)
    scene.later(1, peer)
    late = [submit(scene.ledger, Requirement("burn", min_vram_mb=1_000)) for _ in range(2)]
    scene.later(1, peer)
    assert state(scene, large, *late) == [JobState.PENDING] * 3
    for order in runs:
        end(scene, peer, order)
    assert state(scene, large) == [JobState.ASSIGNED]


def test_a_job_for_all_cards_is_not_starved_by_those_for_one(scene: CoordinatorScene) -> None:
    peer = scene.wide(3, "render-1", CARD, replace(CARD, uuid="GPU-2", index=1))
    runs = [scene.running(peer, requirement=Requirement("burn", gpus=1)) for _ in range(2)]
    both = submit(scene.ledger, Requirement("burn", gpus=2))
    scene.later(1, peer)
    late = [submit(scene.ledger, Requirement("burn", gpus=1)) for _ in range(2)]
    end(scene, peer, runs[0])
    assert state(scene, both, *late) == [JobState.PENDING] * 3
    end(scene, peer, runs[1])
    assert state(scene, both, *late) == [JobState.ASSIGNED, *[JobState.PENDING] * 2]
    assert len(begun(scene, peer).gpus) == 2


def test_a_kept_worker_that_cannot_hold_the_job_any_more_is_kept_no_longer(scene: CoordinatorScene) -> None:
    both = [scene.wide(3, f"render-{n}", replace(CARD, uuid=f"GPU-{n}")) for n in range(2)]
    for peer in both:
        scene.running(peer, requirement=replace(SMALL, only_workers=(peer.id,)))
    large = submit(scene.ledger, LARGE)
    scene.later(2, *both)
    [kept] = scene.leader._dispatch.kept_workers()
    one, other = sorted(both, key=lambda peer: peer.id != kept)
    one.others_mb = {gpu.uuid: 12_000 for gpu in one.worker.gpus}
    scene.later(2, *both)
    assert scene.leader._dispatch.kept_workers() == {other.id}
    assert scene.job(large.id).state is JobState.PENDING


def test_a_job_is_not_told_that_a_worker_is_kept_for_itself(scene: CoordinatorScene) -> None:
    peer = scene.wide(3, "render-1", CARD)
    scene.running(peer, requirement=Requirement("burn", min_vram_mb=7_000))
    large = submit(scene.ledger, Requirement("burn", min_vram_mb=24_000 - 256))
    scene.later(3, peer)
    assert scene.leader._dispatch.kept_workers() == {peer.id}
    assert scene.job(large.id).waiting == "waits for a free slot on a card with enough memory free: render-1 is busy"


def test_what_takes_no_card_does_not_wait_for_a_job_that_waits_for_one(scene: CoordinatorScene) -> None:
    peer = scene.wide(4, "render-1", CARD)
    run = scene.running(peer)  # on the whole card
    large = submit(scene.ledger)
    scene.later(2, peer)
    small = [submit(scene.ledger, Requirement("burn", min_vram_mb=0)) for _ in range(3)]
    scene.later(1, peer)
    assert state(scene, large, *small) == [JobState.PENDING, *[JobState.ASSIGNED] * 2, JobState.PENDING]
    end(scene, peer, run)
    assert state(scene, large) == [JobState.ASSIGNED]


def test_a_worker_that_was_kept_takes_what_stands_behind_a_slot_when_nothing_needs_it_any_more(
    scene: CoordinatorScene,
) -> None:
    kept = scene.wide(3, "render-1", CARD)
    scene.running(kept, requirement=SMALL)
    large = submit(scene.ledger, LARGE)
    scene.later(2, kept)
    other = scene.wide(1, "render-2", replace(CARD, uuid="GPU-2", vram_mb=12_000))
    scene.set_up(other, queue_depth=1)
    scene.running(other, requirement=SMALL)
    behind = submit(scene.ledger, Requirement("burn", min_vram_mb=1_000))
    scene.later(1, kept, other)
    assert scene.job(behind.id).worker == other.id
    jobs.cancel(scene.ledger, large.id)
    scene.later(3, kept, other)
    assert scene.job(behind.id).worker == kept.id


def crowded(scene: CoordinatorScene, count: int) -> list[Peer]:
    """Workers with a free slot each, and 14 GiB of memory left."""
    peers = [scene.wide(2, f"render-{number}", replace(CARD, uuid=f"GPU-{number}")) for number in range(count)]
    for peer in peers:
        held = Requirement("burn", min_vram_mb=10_000, only_workers=(peer.id,))
        scene.running(peer, requirement=held, owner="carl")
    return peers


def test_one_worker_is_kept_for_large_jobs_that_differ_by_a_mebibyte(scene: CoordinatorScene) -> None:
    peers = crowded(scene, 3)
    for number in range(3):
        submit(scene.ledger, Requirement("burn", min_vram_mb=20_000 + number), priority=60)
    scene.later(2, *peers)
    small = [submit(scene.ledger, Requirement("burn", min_vram_mb=4_000), owner="bob") for _ in range(3)]
    scene.leader.step(BELL)
    assert state(scene, *small) == [JobState.ASSIGNED, JobState.ASSIGNED, JobState.PENDING]


def test_who_comes_before_the_large_job_is_not_told_that_it_comes_first(scene: CoordinatorScene) -> None:
    peers = crowded(scene, 1)
    submit(scene.ledger, LARGE, priority=10)
    scene.later(2, *peers)
    high = [submit(scene.ledger, Requirement("burn", min_vram_mb=4_000), priority=90, owner="bob") for _ in range(3)]
    scene.leader.step(BELL)
    assert state(scene, *high) == [JobState.ASSIGNED, JobState.PENDING, JobState.PENDING]
    assert scene.job(high[1].id).waiting == (
        "waits for a free slot on a card with enough memory free: render-0 is busy"
    )
