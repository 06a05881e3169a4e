"""Who comes first, who waits for what, and what wakes it: a leader on real stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from app.coordinator.dispatch import MOST_HEADS
from app.coordinator.hints import Hint
from app.coordinator.order import STEP_S
from app.ledger import attempts, jobs, waiting
from app.pool.matching import class_name
from app.pool.model import AttemptEnd, Gpu, Job, JobSpec, JobState, Requirement
from app.pool.protocol import Order
from tests.peer import Peer
from tests.postgres.conftest import submit
from tests.scene import Scene, scene

__all__ = ["scene"]
BELL = Hint(jobs=True)
FAST = Requirement("burn", tags=("fast",))
CARD = Gpu("GPU-1", 0, "A10", 24_000)
SMALL, LARGE = Requirement("burn", min_vram_mb=8_000), Requirement("burn", min_vram_mb=20_000)


def state(scene: Scene, *some: Job) -> list[JobState]:
    return [scene.job(job.id).state for job in some]


def begun(scene: Scene, peer: Peer) -> Order:
    """The next order, claimed."""
    order = peer.next_order()
    peer.claim(order)
    scene.step()
    return order


def submit_many(scene: Scene, requirement: Requirement, count: int) -> None:
    jobs.submit_all(scene.ledger, [(JobSpec(requirement, owner="ana"), class_name(requirement))] * count)


def end(scene: Scene, peer: Peer, order: Order, word: str = "succeeded", **rest: Any) -> None:
    peer.end(order, word, **rest)
    peer.beat()
    scene.step()


def test_one_person_s_many_jobs_keep_nobody_waiting(scene: Scene) -> None:
    submit_many(scene, Requirement("burn"), 300)
    bob = [submit(scene.ledger, owner="bob") for _ in range(3)]
    peer = scene.wide(4)
    assert state(scene, *bob) == [JobState.ASSIGNED, JobState.ASSIGNED, JobState.PENDING]
    end(scene, peer, begun(scene, peer))
    owners = {scene.job(order.job).spec.owner for order in iter(peer.pop, None)}
    assert owners == {"ana", "bob"}


def test_a_high_priority_takes_every_free_slot_before_a_low_one(scene: Scene) -> None:
    high = [submit(scene.ledger, priority=90) for _ in range(3)]
    low = [submit(scene.ledger, owner="bob", priority=10) for _ in range(3)]
    scene.wide(4)
    assert state(scene, *high, *low) == [*[JobState.ASSIGNED] * 4, *[JobState.PENDING] * 2]


def test_who_holds_much_gets_nothing_while_another_has_less(scene: Scene) -> None:
    peer = scene.wide(8)
    for _ in range(5):
        scene.running(peer)
    ana = [submit(scene.ledger) for _ in range(3)]
    bob = [submit(scene.ledger, owner="bob") for _ in range(4)]
    scene.leader.step(BELL)
    assert state(scene, *ana) == [JobState.PENDING] * 3
    assert state(scene, *bob) == [*[JobState.ASSIGNED] * 3, JobState.PENDING]


def test_a_job_rises_with_its_waiting_though_others_of_its_owner_are_served(scene: Scene, database_url: str) -> None:
    fast, other = scene.peer("render-1"), scene.peer("render-2")
    rare, common = Requirement("burn", only_workers=(fast.id,)), Requirement("burn", only_workers=(other.id,))
    first = scene.running(fast, requirement=rare, owner="bob")
    starved = submit(scene.ledger, rare)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE jobs SET created_at = now() - interval '1 hour' WHERE id = %s", [starved.id])
    scene.time += 4 * STEP_S
    fast.beat()
    other.beat()
    scene.step()
    scene.running(other, requirement=common)
    above = submit(scene.ledger, rare, owner="bob", priority=52)
    end(scene, fast, first)
    assert state(scene, starved, above) == [JobState.ASSIGNED, JobState.PENDING]


def test_of_many_people_those_who_came_first_come_first(scene: Scene) -> None:
    specs = [(JobSpec(Requirement("burn"), owner=f"o{n}"), class_name(Requirement("burn"))) for n in range(300)]
    first = jobs.submit_all(scene.ledger, specs)[:2]
    peer = scene.wide(2)
    assert state(scene, *first) == [JobState.ASSIGNED] * 2
    assert peer.queued() == 2 and waiting.count(scene.ledger) == 298


def test_a_large_class_does_not_block_a_small_one(scene: Scene) -> None:
    submit_many(scene, Requirement("burn", tags=("nobody-has-it",)), 300)
    small = submit(scene.ledger)
    peer = scene.peer()
    assert peer.next_order().job == small.id


def test_jobs_that_may_not_go_to_the_free_worker_do_not_hide_those_behind_them(scene: Scene) -> None:
    free, full = scene.peer("render-1"), scene.peer("render-2")
    needs = Requirement("burn")
    scene.running(full, requirement=replace(needs, exclude_workers=(free.id,)))
    elsewhere = replace(needs, exclude_workers=(free.id,))
    submit_many(scene, elsewhere, 2 * MOST_HEADS)
    last = submit(scene.ledger)
    scene.step()
    assert free.next_order().job == last.id


def test_jobs_that_no_card_could_hold_do_not_hide_those_behind_them(scene: Scene) -> None:
    peer = scene.wide(1, "render-1", CARD)
    submit_many(scene, Requirement("burn", min_vram_mb=24_500), 2 * MOST_HEADS)
    last = submit(scene.ledger, Requirement("burn", min_vram_mb=23_000))
    scene.leader.step(BELL)
    assert peer.next_order().job == last.id


def test_of_a_class_what_fits_the_free_card_does_not_wait_for_the_larger_one_with_those_before_it(scene: Scene) -> None:
    scene.running(scene.wide(1, "render-1", CARD))
    free = scene.wide(1, "render-2", replace(CARD, uuid="GPU-2", vram_mb=20_000))
    large = submit(scene.ledger, Requirement("burn", min_vram_mb=22_000))
    small = submit(scene.ledger, Requirement("burn", min_vram_mb=18_000))
    scene.leader.step(BELL)
    assert (scene.job(large.id).state, scene.job(small.id).worker) == (JobState.PENDING, free.id)


def test_a_class_of_which_all_that_is_left_avoids_a_worker_waits_for_what_its_first_does(scene: Scene) -> None:
    peer = scene.peer("render-1")
    elsewhere = Requirement("burn", exclude_workers=(peer.id,))
    submit_many(scene, elsewhere, 2 * MOST_HEADS)
    last = submit(scene.ledger, elsewhere)
    scene.later(1, peer)
    assert scene.job(last.id).waiting == "no worker fits: 1 is excluded"


def test_what_waits_is_woken_by_a_slot_that_is_freed_and_by_a_worker_that_recovers(scene: Scene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    freed = submit(scene.ledger)
    scene.leader.step(BELL)
    assert (scene.job(freed.id).waiting or "").startswith("waits for a free slot: render-1 is full")
    peer.end(order)
    scene.leader.step(Hint(reports={peer.id}))
    assert peer.next_order().job == freed.id


def test_a_job_that_nobody_could_run_says_so_at_once_and_goes_when_somebody_can(scene: Scene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger, FAST)
    scene.leader.step(BELL)
    assert scene.job(job.id).waiting == "no worker fits: 1 lacks fast"
    peer.tags = ("fast",)
    peer.beat()
    scene.later(1)
    assert peer.next_order().job == job.id
    assert scene.job(job.id).waiting is None


def test_a_reason_follows_what_changes(scene: Scene) -> None:
    job = submit(scene.ledger, FAST)
    scene.step()
    assert scene.job(job.id).waiting == "no worker has joined the pool yet"
    peer = scene.peer()
    scene.later(1, peer)
    assert scene.job(job.id).waiting == "no worker fits: 1 lacks fast"


def test_a_job_for_much_memory_is_not_starved_by_small_ones(scene: Scene) -> None:
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


def test_a_job_is_not_starved_either_where_a_smaller_one_of_its_class_would_fit(scene: Scene) -> None:
    peer = scene.wide(3, "render-1", CARD)
    run = scene.running(peer, requirement=Requirement("burn", min_vram_mb=13_000))
    large = submit(scene.ledger, Requirement("burn", min_vram_mb=12_000))
    scene.later(2, peer)
    late = submit(scene.ledger, Requirement("burn", min_vram_mb=2_000))
    scene.leader.step(BELL)
    assert state(scene, large, late) == [JobState.PENDING] * 2
    end(scene, peer, run)
    assert state(scene, large) == [JobState.ASSIGNED]


def test_while_a_worker_is_kept_the_others_say_for_whom(scene: Scene) -> None:
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


def test_who_could_not_run_on_the_kept_worker_is_not_told_of_it(scene: Scene) -> None:
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


def test_of_a_class_only_those_that_no_card_could_hold_are_told_so(scene: Scene) -> None:
    peer = scene.wide(2, "render-1", CARD)
    scene.running(peer)
    fits = submit(scene.ledger, Requirement("burn", min_vram_mb=23_700))
    too_large = submit(scene.ledger, Requirement("burn", min_vram_mb=24_500), priority=10)
    scene.later(2, peer)
    assert (scene.job(fits.id).waiting or "").startswith("waits for a free slot")
    assert scene.job(too_large.id).waiting == "no worker fits: 1 has 24000 MiB on its largest GPU, less than 24500"


def test_a_reason_of_a_job_s_own_goes_when_it_is_no_longer_true(scene: Scene) -> None:
    peer = scene.peer("render-1")
    job = submit(scene.ledger, Requirement("burn", exclude_workers=(peer.id,)))
    scene.later(1, peer)
    assert scene.job(job.id).waiting == "no worker fits: 1 is excluded"
    scene.running(peer)
    scene.later(2, peer)
    assert scene.job(job.id).waiting == "waits for a free slot: render-1 is full"


def test_who_comes_before_a_large_job_is_not_kept_out_for_it(scene: Scene) -> None:
    peer = scene.wide(3, "render-1", CARD)
    scene.running(peer, requirement=SMALL)
    submit(scene.ledger, LARGE, priority=10)
    scene.later(1, peer)
    urgent = submit(scene.ledger, SMALL)
    scene.leader.step(BELL)
    assert state(scene, urgent) == [JobState.ASSIGNED]


def test_nothing_stays_behind_a_slot_while_another_is_free(scene: Scene) -> None:
    peer = scene.peer("render-1")
    scene.set_up(peer, queue_depth=2)
    order = scene.running(peer)
    behind = submit(scene.ledger)
    scene.step()
    assert scene.job(behind.id).worker == peer.id
    other = scene.peer("render-2")
    scene.later(1, peer, other)
    moved = other.next_order()
    assert (moved.job, moved.attempt) == (behind.id, 2)
    first = attempts.of_job(scene.ledger, behind.id)[0]
    assert (first.end, first.cause) == (AttemptEnd.TAKEN_BACK, "a slot is free elsewhere")
    assert peer.queued() == 0 and peer.lease(behind.id) is None and peer.lease(order.job) is not None


def test_nothing_goes_from_behind_a_slot_to_where_it_failed(scene: Scene) -> None:
    other = scene.peer("render-2")
    order = scene.running(other)
    peer = scene.peer("render-1")
    scene.set_up(peer, queue_depth=2)
    scene.running(peer)
    end(scene, other, order, "failed", cause="workflow", then="elsewhere")
    scene.later(2, peer, other)
    assert (scene.job(order.job).worker, scene.job(order.job).attempt) == (peer.id, 2)


def test_what_its_own_worker_is_about_to_start_is_left_alone(scene: Scene) -> None:
    peer = scene.peer("render-1")
    scene.set_up(peer, queue_depth=2)
    job = submit(scene.ledger)
    scene.step()
    scene.peer("render-2")
    scene.later(2, peer)
    assert (scene.job(job.id).worker, scene.job(job.id).attempt) == (peer.id, 1)


def test_a_claim_that_comes_first_keeps_its_job(scene: Scene) -> None:
    peer = scene.peer("render-1")
    scene.set_up(peer, queue_depth=2)
    order = scene.running(peer)
    behind = submit(scene.ledger)
    scene.step()
    taken = peer.next_order()
    other = Peer(scene.stores, scene.ledger, "render-2")
    other.beat()
    peer.end(order)
    peer.claim(taken)
    scene.later(2, peer, other)
    assert (scene.job(behind.id).state, scene.job(behind.id).worker) == (JobState.RUNNING, peer.id)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_new_leader_keeps_a_worker_too(scene: Scene, restarted: bool) -> None:
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


def test_a_placement_is_kept_with_its_attempt(scene: Scene) -> None:
    scene.wide(2)
    job = submit(scene.ledger)
    scene.step()
    with scene.ledger.transaction() as tx:
        assert tx._connection is not None
        row = tx._connection.execute("SELECT placement FROM attempts WHERE job_id = %s", [job.id]).fetchone()
    assert row is not None
    assert row["placement"]["strategy"] == "least-loaded" and "queue" in row["placement"]["parts"]


def test_reasons_of_classes_go_with_their_last_job(scene: Scene) -> None:
    job = submit(scene.ledger, FAST)
    scene.step()
    assert [each.why for each in waiting.classes(scene.ledger)] == ["no worker has joined the pool yet"]
    jobs.cancel(scene.ledger, job.id)
    scene.later(6)
    assert waiting.forget_classes(scene.ledger) == 0  # it was done


def test_a_large_job_is_not_starved_where_places_stand_behind_the_slots(scene: Scene) -> None:
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


def test_a_job_for_all_cards_is_not_starved_by_those_for_one(scene: Scene) -> None:
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


def test_a_kept_worker_that_cannot_hold_the_job_any_more_is_kept_no_longer(scene: Scene) -> None:
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


def test_a_job_is_not_told_that_a_worker_is_kept_for_itself(scene: Scene) -> None:
    peer = scene.wide(3, "render-1", CARD)
    scene.running(peer, requirement=Requirement("burn", min_vram_mb=7_000))
    large = submit(scene.ledger, Requirement("burn", min_vram_mb=24_000 - 256))
    scene.later(3, peer)
    assert scene.leader._dispatch.kept_workers() == {peer.id}
    assert scene.job(large.id).waiting == "waits for a free slot on a card with enough memory free: render-1 is busy"


def test_a_job_whose_older_attempt_is_left_on_the_free_worker_hides_no_other(scene: Scene, database_url: str) -> None:
    peer = scene.wide(2)
    order = scene.running(peer, timeout_s=60)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE attempts SET started_at = now() - interval '1 h'")  # its guard did not end it
        scene.later(1, peer)
        connection.execute("UPDATE jobs SET not_before = now()")
    other = submit(scene.ledger)
    scene.later(1, peer)
    assert state(scene, scene.job(order.job), other) == [JobState.PENDING, JobState.ASSIGNED]


def test_what_takes_no_card_does_not_wait_for_a_job_that_waits_for_one(scene: Scene) -> None:
    peer = scene.wide(4, "render-1", CARD)
    run = scene.running(peer)  # on the whole card
    large = submit(scene.ledger)
    scene.later(2, peer)
    small = [submit(scene.ledger, Requirement("burn", min_vram_mb=0)) for _ in range(3)]
    scene.later(1, peer)
    assert state(scene, large, *small) == [JobState.PENDING, *[JobState.ASSIGNED] * 2, JobState.PENDING]
    end(scene, peer, run)
    assert state(scene, large) == [JobState.ASSIGNED]


def test_a_worker_that_was_kept_takes_what_stands_behind_a_slot_when_nothing_needs_it_any_more(scene: Scene) -> None:
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
