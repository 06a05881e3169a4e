"""Who comes first, who waits for what, and what wakes it: a leader on real stores."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import psycopg

from app.coordinator.hints import Hint
from app.coordinator.placement.dispatch import MOST_HEADS
from app.coordinator.placement.fairness import STEP_S
from app.ledger import jobs, waiting
from app.pool.model import JobSpec, JobState, Requirement
from tests.kit.actors import submit
from tests.kit.coordinator_scene import BELL, CARD, FAST, CoordinatorScene, begun, end, state

SMALL, LARGE = Requirement("burn", min_vram_mb=8_000), Requirement("burn", min_vram_mb=20_000)


def submit_many(scene: CoordinatorScene, requirement: Requirement, count: int) -> None:
    jobs.submit_all(scene.ledger, [JobSpec(requirement, owner="ana")] * count)


def test_one_person_s_many_jobs_keep_nobody_waiting(scene: CoordinatorScene) -> None:
    submit_many(scene, Requirement("burn"), 300)
    bob = [submit(scene.ledger, owner="bob") for _ in range(3)]
    peer = scene.wide(4)
    assert state(scene, *bob) == [JobState.ASSIGNED, JobState.ASSIGNED, JobState.PENDING]
    end(scene, peer, begun(scene, peer))
    owners = {scene.job(order.job).spec.owner for order in iter(peer.pop, None)}
    assert owners == {"ana", "bob"}


def test_a_high_priority_takes_every_free_slot_before_a_low_one(scene: CoordinatorScene) -> None:
    high = [submit(scene.ledger, priority=90) for _ in range(3)]
    low = [submit(scene.ledger, owner="bob", priority=10) for _ in range(3)]
    scene.wide(4)
    assert state(scene, *high, *low) == [*[JobState.ASSIGNED] * 4, *[JobState.PENDING] * 2]


def test_who_holds_much_gets_nothing_while_another_has_less(scene: CoordinatorScene) -> None:
    peer = scene.wide(8)
    for _ in range(5):
        scene.running(peer)
    ana = [submit(scene.ledger) for _ in range(3)]
    bob = [submit(scene.ledger, owner="bob") for _ in range(4)]
    scene.leader.step(BELL)
    assert state(scene, *ana) == [JobState.PENDING] * 3
    assert state(scene, *bob) == [*[JobState.ASSIGNED] * 3, JobState.PENDING]


def test_a_job_rises_with_its_waiting_though_others_of_its_owner_are_served(
    scene: CoordinatorScene, database_url: str
) -> None:
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


def test_many_are_placed_by_few_script_calls_and_assigned_by_few_statements(
    scene: CoordinatorScene, statements: Counter[str]
) -> None:
    scene.wide(64)
    submit_many(scene, Requirement("burn"), 60)
    statements.clear()
    scene.stores.redis.config_resetstat()
    scene.leader.step(BELL)
    assert waiting.count(scene.ledger) == 0
    assert statements["waiting_assign"] == 3  # after looks at 4, 32 and 256 of the queue
    # One of them gives the worker its place in the sets of a class that is new.
    assert scene.stores.redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 4


def test_of_many_people_those_who_came_first_come_first(scene: CoordinatorScene) -> None:
    specs = [JobSpec(Requirement("burn"), owner=f"o{n}") for n in range(300)]
    first = jobs.submit_all(scene.ledger, specs)[:2]
    peer = scene.wide(2)
    assert state(scene, *first) == [JobState.ASSIGNED] * 2
    assert peer.queued() == 2 and waiting.count(scene.ledger) == 298


def test_a_large_class_does_not_block_a_small_one(scene: CoordinatorScene) -> None:
    submit_many(scene, Requirement("burn", tags=("nobody-has-it",)), 300)
    small = submit(scene.ledger)
    peer = scene.peer()
    assert peer.next_order().job == small.id


def test_jobs_that_may_not_go_to_the_free_worker_do_not_hide_those_behind_them(scene: CoordinatorScene) -> None:
    free, full = scene.peer("render-1"), scene.peer("render-2")
    needs = Requirement("burn")
    scene.running(full, requirement=replace(needs, exclude_workers=(free.id,)))
    elsewhere = replace(needs, exclude_workers=(free.id,))
    submit_many(scene, elsewhere, 2 * MOST_HEADS)
    last = submit(scene.ledger)
    scene.step()
    assert free.next_order().job == last.id


def test_jobs_that_no_card_could_hold_do_not_hide_those_behind_them(scene: CoordinatorScene) -> None:
    peer = scene.wide(1, "render-1", CARD)
    submit_many(scene, Requirement("burn", min_vram_mb=24_500), 2 * MOST_HEADS)
    last = submit(scene.ledger, Requirement("burn", min_vram_mb=23_000))
    scene.leader.step(BELL)
    assert peer.next_order().job == last.id


def test_of_a_class_what_fits_the_free_card_does_not_wait_for_the_larger_one_with_those_before_it(
    scene: CoordinatorScene,
) -> None:
    scene.running(scene.wide(1, "render-1", CARD))
    free = scene.wide(1, "render-2", replace(CARD, uuid="GPU-2", vram_mb=20_000))
    large = submit(scene.ledger, Requirement("burn", min_vram_mb=22_000))
    small = submit(scene.ledger, Requirement("burn", min_vram_mb=18_000))
    scene.leader.step(BELL)
    assert (scene.job(large.id).state, scene.job(small.id).worker) == (JobState.PENDING, free.id)


def test_a_class_of_which_all_that_is_left_avoids_a_worker_waits_for_what_its_first_does(
    scene: CoordinatorScene,
) -> None:
    peer = scene.peer("render-1")
    elsewhere = Requirement("burn", exclude_workers=(peer.id,))
    submit_many(scene, elsewhere, 2 * MOST_HEADS)
    last = submit(scene.ledger, elsewhere)
    scene.later(1, peer)
    assert scene.job(last.id).waiting == "no worker fits: 1 is excluded"


def test_what_waits_is_woken_by_a_slot_that_is_freed_and_by_a_worker_that_recovers(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    freed = submit(scene.ledger)
    scene.leader.step(BELL)
    assert (scene.job(freed.id).waiting or "").startswith("waits for a free slot: render-1 is full")
    peer.end(order)
    scene.leader.step(Hint(reports={peer.id}))
    assert peer.next_order().job == freed.id


def test_a_job_that_nobody_could_run_says_so_at_once_and_goes_when_somebody_can(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger, FAST)
    scene.leader.step(BELL)
    assert scene.job(job.id).waiting == "no worker fits: 1 lacks fast"
    peer.tags = ("fast",)
    peer.beat()
    scene.later(1)
    assert peer.next_order().job == job.id
    assert scene.job(job.id).waiting is None


def test_a_reason_follows_what_changes(scene: CoordinatorScene) -> None:
    job = submit(scene.ledger, FAST)
    scene.step()
    assert scene.job(job.id).waiting == "no worker has joined the pool yet"
    peer = scene.peer()
    scene.later(1, peer)
    assert scene.job(job.id).waiting == "no worker fits: 1 lacks fast"


def test_of_a_class_only_those_that_no_card_could_hold_are_told_so(scene: CoordinatorScene) -> None:
    peer = scene.wide(2, "render-1", CARD)
    scene.running(peer)
    fits = submit(scene.ledger, Requirement("burn", min_vram_mb=23_700))
    too_large = submit(scene.ledger, Requirement("burn", min_vram_mb=24_500), priority=10)
    scene.later(2, peer)
    assert (scene.job(fits.id).waiting or "").startswith("waits for a free slot")
    assert scene.job(too_large.id).waiting == "no worker fits: 1 has 24000 MiB on its largest GPU, less than 24500"


def test_a_reason_is_that_of_what_the_job_demands_whatever_others_wait_for(scene: CoordinatorScene) -> None:
    peer = scene.peer("render-1")
    excludes = submit(scene.ledger, Requirement("burn", exclude_workers=(peer.id,)))
    scene.running(peer)
    anywhere = submit(scene.ledger)
    scene.later(2, peer)
    assert scene.job(excludes.id).waiting == "no worker fits: 1 is excluded"
    assert scene.job(anywhere.id).waiting == "waits for a free slot: render-1 is full"


def test_a_placement_is_kept_with_its_attempt(scene: CoordinatorScene) -> None:
    scene.wide(2)
    job = submit(scene.ledger)
    scene.step()
    with scene.ledger.transaction() as tx:
        assert tx._connection is not None
        row = tx._connection.execute("SELECT placement FROM attempts WHERE job_id = %s", [job.id]).fetchone()
    assert row is not None
    assert row["placement"]["strategy"] == "least-loaded" and "queue" in row["placement"]["parts"]


def test_reasons_of_classes_go_with_their_last_job(scene: CoordinatorScene) -> None:
    job = submit(scene.ledger, FAST)
    scene.step()
    assert scene.job(job.id).waiting == "no worker has joined the pool yet"
    jobs.cancel(scene.ledger, job.id)
    scene.later(6)
    assert waiting.forget_classes(scene.ledger) == 0  # it was done


def test_a_job_whose_older_attempt_is_left_on_the_free_worker_hides_no_other(
    scene: CoordinatorScene, database_url: str
) -> None:
    peer = scene.wide(2)
    order = scene.running(peer, timeout_s=60)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE attempts SET started_at = now() - interval '1 h'")  # its guard did not end it
        scene.later(1, peer)
        connection.execute("UPDATE jobs SET not_before = now()")
    other = submit(scene.ledger)
    scene.later(1, peer)
    assert state(scene, scene.job(order.job), other) == [JobState.PENDING, JobState.ASSIGNED]


def test_a_class_whose_last_job_went_and_that_is_there_again_has_its_reason_again(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    scene.running(peer)
    first = submit(scene.ledger)
    scene.later(1, peer)
    assert scene.job(first.id).waiting is not None
    jobs.cancel(scene.ledger, first.id)
    assert waiting.forget_classes(scene.ledger) == 1  # as reconcile does between two looks
    again = submit(scene.ledger)
    scene.later(2, peer)
    assert scene.job(again.id).waiting == "waits for a free slot: render-1 is full"


def test_jobs_that_find_no_room_take_no_turns_from_their_owner(scene: CoordinatorScene) -> None:
    full = scene.wide(1, "render-1", CARD)
    scene.running(full, requirement=Requirement("burn", min_vram_mb=10_000))
    for number in range(6):
        submit(scene.ledger, Requirement("burn", min_vram_mb=20_000 + number))
    scene.later(2, full)
    bob = [submit(scene.ledger, owner="bob") for _ in range(6)]
    ana = submit(scene.ledger)
    scene.wide(4, "plain")
    assert state(scene, ana, *bob[:3]) == [JobState.ASSIGNED] * 4


def test_a_step_ends_in_time_though_many_amounts_of_memory_share_sets_without_room(scene: CoordinatorScene) -> None:
    for number in range(10):
        scene.wide(1, f"render-{number}", replace(CARD, uuid=f"GPU-{number}", vram_mb=18_000))
    amounts = [17_800 + number for number in range(1_000)]
    specs = [JobSpec(Requirement("burn", min_vram_mb=amount), owner="ana") for amount in amounts]
    jobs.submit_all(scene.ledger, specs)
    scene.stores.redis.config_resetstat()
    scene.leader.step(BELL)
    calls = scene.stores.redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert calls < 300  # one for each class would be a thousand
