"""What stands behind a slot goes where one is free, and nothing else does: a leader on real stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Leases
from app.coordinator.attempts.revoke import Failover
from app.coordinator.fleet import Fleet
from app.ledger import attempts, open_attempts, policy
from app.pool.model import AttemptEnd, Gpu, Job, JobState, Requirement
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene, begun, end
from tests.kit.peer import Peer

SMALL, LARGE = Gpu("GPU-1", 0, "A10", 24_000), Gpu("GPU-2", 0, "H200", 141_000)
NEEDS = Requirement("burn", min_vram_mb=8_000)


def stands(scene: CoordinatorScene, job: Job) -> tuple[str | None, int]:
    """Where, and in which attempt."""
    found = scene.job(job.id)
    return found.worker, found.attempt


def busy(scene: CoordinatorScene, name: str, *gpus: Gpu, **spec: Any) -> Peer:
    """A worker that runs a job on its one slot, with places behind it."""
    peer = scene.peer(name, *gpus)
    busy_again(scene, peer, **spec)
    return peer


def busy_again(scene: CoordinatorScene, peer: Peer, **spec: Any) -> None:
    scene.running(peer, **spec)
    scene.set_up(peer, queue_depth=3)


def behind(scene: CoordinatorScene, peer: Peer, **spec: Any) -> Job:
    """A job that was assigned to it."""
    job = submit(scene.ledger, **spec)
    scene.step()
    assert stands(scene, job)[0] == peer.id
    return job


def test_what_stands_behind_a_slot_goes_also_when_nothing_may_stand_there_any_more(scene: CoordinatorScene) -> None:
    peer = busy(scene, "render-1")
    job = behind(scene, peer)
    scene.set_up(peer, queue_depth=0)
    other = scene.peer("render-2")
    scene.later(1, peer, other)
    assert stands(scene, job) == (other.id, 2)


def test_what_was_assigned_to_a_slot_that_died_goes_where_one_is_free(scene: CoordinatorScene) -> None:
    peer = scene.peer("render-1")
    job = behind(scene, peer)
    peer.slots = 0
    other = scene.peer("render-2")
    scene.later(1, peer, other)
    assert stands(scene, job) == (other.id, 2)


def test_of_several_assigned_at_once_the_one_that_comes_first_is_left_to_its_worker(scene: CoordinatorScene) -> None:
    wait = [submit(scene.ledger, priority=priority) for priority in (0, 1, 2, 3)]
    peer = Peer(scene.stores, scene.ledger, "render-1")
    policy.write(scene.ledger, {"queue_depth": 3}, "ana")
    peer.beat()
    scene.step()
    assert {stands(scene, job) for job in wait} == {(peer.id, 1)}
    other = scene.wide(3, "render-2")
    scene.later(1, peer, other)
    left = {job.id for job in wait if stands(scene, job) == (peer.id, 1)}
    assert left == {peer.next_order().job}


def test_what_a_slot_has_popped_is_left_to_it(scene: CoordinatorScene) -> None:
    peer = busy(scene, "render-1")
    job = behind(scene, peer)
    peer.next_order()  # its claim is under way, and so is the end of what ran
    scene.peer("render-2")
    scene.later(1, peer)
    assert stands(scene, job) == (peer.id, 1)


def test_what_ran_out_of_memory_stays_behind_the_large_card(scene: CoordinatorScene) -> None:
    small = scene.peer("render-1", SMALL)
    order = scene.running(small, requirement=NEEDS)
    large = busy(scene, "render-2", LARGE, requirement=NEEDS)
    alike = scene.peer("render-3", replace(SMALL, uuid="GPU-3"))
    end(scene, small, order, "failed", cause="gpu memory", then="elsewhere")
    job = scene.job(order.job)
    assert job.spec.requirement.above_vram_mb and stands(scene, job) == (large.id, 2)
    scene.later(2, small, large, alike)
    assert stands(scene, job) == (large.id, 2)


def test_what_failed_everywhere_goes_where_a_slot_is_free(scene: CoordinatorScene) -> None:
    one = scene.peer("render-1")
    order = scene.running(one, max_failures=9)
    other = scene.peer("render-2")
    end(scene, one, order, "failed", cause="workflow", then="elsewhere")
    again = begun(scene, other)
    busy_again(scene, one)
    urgent = submit(scene.ledger, priority=90)
    end(scene, other, again, "failed", cause="workflow", then="elsewhere")
    job = scene.job(order.job)
    assert stands(scene, job) == (one.id, 3) and scene.job(urgent.id).worker == other.id
    other.end(begun(scene, other))
    scene.later(1, one, other)
    assert stands(scene, job) == (other.id, 4)


def test_a_job_is_moved_again_at_once_where_another_slot_is_free(scene: CoordinatorScene) -> None:
    peer = busy(scene, "render-1")
    job = behind(scene, peer)
    second = scene.peer("render-2")
    scene.later(1, peer, second)
    assert stands(scene, job) == (second.id, 2)
    second.slots = 0
    third = scene.peer("render-3")
    scene.later(1, peer, second, third)
    assert stands(scene, job) == (third.id, 3)


def test_a_job_is_not_moved_again_and_again_for_a_worker_that_it_is_not_given_to(scene: CoordinatorScene) -> None:
    other = scene.wide(2, "render-2")
    runs = [scene.running(other), scene.running(other)]
    peer = busy(scene, "render-1")
    job = behind(scene, peer)
    other.attempts[job.id] = 1  # a process of it is left there
    for order in runs:
        other.end(order)
    scene.later(5, peer, other)
    assert stands(scene, job) == (peer.id, 2)


def test_what_has_started_meanwhile_is_not_taken_back(scene: CoordinatorScene) -> None:
    order = scene.running(scene.peer())
    (held,) = open_attempts.held(scene.ledger)
    fleet = Fleet(scene.stores)
    failover = Failover(scene.stores, fleet, Leases(scene.stores), Envelopes(scene.stores.rq))
    assert not failover.take_back(held, "for a test")
    assert scene.job(order.job).state is JobState.RUNNING


def test_nothing_stays_behind_a_slot_while_another_is_free(scene: CoordinatorScene) -> None:
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


def test_nothing_goes_from_behind_a_slot_to_where_it_failed(scene: CoordinatorScene) -> None:
    other = scene.peer("render-2")
    order = scene.running(other)
    peer = scene.peer("render-1")
    scene.set_up(peer, queue_depth=2)
    scene.running(peer)
    end(scene, other, order, "failed", cause="workflow", then="elsewhere")
    scene.later(2, peer, other)
    assert (scene.job(order.job).worker, scene.job(order.job).attempt) == (peer.id, 2)


def test_what_its_own_worker_is_about_to_start_is_left_alone(scene: CoordinatorScene) -> None:
    peer = scene.peer("render-1")
    scene.set_up(peer, queue_depth=2)
    job = submit(scene.ledger)
    scene.step()
    scene.peer("render-2")
    scene.later(2, peer)
    assert (scene.job(job.id).worker, scene.job(job.id).attempt) == (peer.id, 1)


def test_a_claim_that_comes_first_keeps_its_job(scene: CoordinatorScene) -> None:
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
