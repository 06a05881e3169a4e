"""What people set of workers and groups takes effect at once: on jobs that wait and on those that have not started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from app.coordinator.hints import Hint
from app.ledger import attempts, groups, open_attempts
from app.ledger.registry import pauses, setups
from app.ledger.registry.pauses import Pause
from app.pool.codec import from_json
from app.pool.model import AttemptEnd, JobId, JobState, Requirement
from app.pool.protocol import LeaseState, Wanted
from tests.kit.actors import submit
from tests.kit.coordinator_scene import RUNG, CoordinatorScene, state_of
from tests.kit.peer import Peer

OPTIX = Requirement("burn", tags=("optix",))


def first_end(scene: CoordinatorScene, job: JobId) -> tuple[AttemptEnd | None, str | None]:
    """How its first attempt ended, and why."""
    tried = attempts.of_job(scene.ledger, job)[0]
    return tried.end, tried.cause


def test_a_waiting_job_goes_to_a_worker_that_is_given_its_tag(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger, OPTIX)
    scene.step()
    assert scene.job(job.id).state is JobState.PENDING
    scene.set_up(peer, tags=("optix",))
    assert peer.next_order().job == job.id


@pytest.mark.parametrize(
    ("before", "needs", "after", "why"),
    [
        ({"tags": ("optix",)}, OPTIX, {"tags": ("cuda",)}, "(tags): lacks optix"),
        ({"groups": ("farm",)}, Requirement("burn", group="farm"), {"groups": ()}, "(group): is not in group farm"),
        ({}, Requirement("burn"), {"workflows": ("transcode",)}, "(workflow): does not offer burn"),
    ],
    ids=["tags", "groups", "workflows"],
)
def test_what_has_not_started_leaves_a_worker_that_does_not_fit_any_more(
    scene: CoordinatorScene, before: dict[str, Any], needs: Requirement, after: dict[str, Any], why: str
) -> None:
    groups.create(scene.ledger, "farm", None)
    peer, other = scene.peer("render-1"), scene.peer("render-2")
    scene.set_up(peer, **before)
    job = submit(scene.ledger, replace(needs, only_workers=(peer.id, other.id)))
    scene.set_up(other, workflows=("transcode",))
    scene.step()
    assert scene.job(job.id).worker == peer.id
    setups.change(scene.ledger, [other.id], lambda w: replace(setups.setup_of(w), workflows=(), **before), "ana")
    scene.set_up(peer, **after)
    end, cause = first_end(scene, job.id)
    assert end is AttemptEnd.TAKEN_BACK and cause == f"its worker does not fit any more {why}"
    assert peer.queued() == 0 and peer.lease(job.id) is None
    assert other.next_order().attempt == 2


def test_a_claim_that_comes_before_the_take_back_wins(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    scene.set_up(peer, tags=("optix",))
    submit(scene.ledger, OPTIX)
    scene.step()
    order = peer.next_order()
    peer.claim(order)
    scene.set_up(peer, tags=())  # reports are applied first
    assert scene.job(order.job).state is JobState.RUNNING
    scene.later(3, peer)
    assert (scene.job(order.job).state, scene.job(order.job).attempt) == (JobState.RUNNING, 1)
    peer.end(order)
    scene.step()
    assert scene.job(order.job).state is JobState.SUCCEEDED


def test_a_claim_that_comes_after_the_take_back_is_refused(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    scene.set_up(peer, tags=("optix",))
    submit(scene.ledger, OPTIX)
    scene.step()
    order = peer.next_order()  # popped: its slot is about to claim
    scene.set_up(peer, tags=())
    peer.claim(order)
    scene.step()
    assert state_of(peer.lease(order.job)) is LeaseState.REVOKED
    assert (scene.job(order.job).state, scene.job(order.job).attempt) == (JobState.PENDING, 2)


def test_a_leader_that_has_not_heard_of_a_new_setup_assigns_nothing_by_the_old_one(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    scene.set_up(peer, tags=("optix",))
    setups.change(scene.ledger, [peer.id], lambda worker: replace(setups.setup_of(worker), tags=()), "ana")
    job = submit(scene.ledger, OPTIX)
    scene.leader.step(Hint(jobs=True))  # and not of the worker
    assert scene.job(job.id).state is JobState.PENDING
    assert not attempts.of_job(scene.ledger, job.id)
    assert (peer.queued(), peer.lease(job.id)) == (0, None)


def test_slots_grow_when_the_agent_has_followed_and_shrink_at_once(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    scene.set_up(peer, slots=3)
    written = from_json(Wanted, scene.stores.redis.hget(scene.stores.keys.worker(peer.id), "wanted"))
    assert written.slots == 3
    for _ in range(4):
        submit(scene.ledger)
    scene.step()
    assert peer.queued() == 1
    peer.slots = 3
    peer.beat()
    scene.step()
    assert peer.queued() == 3
    for _ in range(2):
        order = peer.next_order()
        peer.claim(order)
        scene.step()
        scene.set_up(peer, slots=1)  # its beat still says 3
        peer.end(order)
        peer.beat()
        scene.step()
    assert (len(open_attempts.held(scene.ledger, peer.id)), peer.queued()) == (1, 1)


def test_a_queue_depth_lets_jobs_wait_behind_the_slots(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    scene.set_up(peer, queue_depth=2)
    for _ in range(4):
        submit(scene.ledger)
    scene.step()
    assert peer.queued() == 3


def test_a_paused_worker_finishes_what_runs_and_gives_back_what_has_not_started(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    scene.set_up(peer, queue_depth=1)
    order = scene.running(peer)
    behind = submit(scene.ledger)
    scene.step()
    assert scene.job(behind.id).state is JobState.ASSIGNED
    pauses.pause(scene.ledger, [peer.id], Pause(), "ana")
    scene.leader.step(RUNG)
    assert first_end(scene, behind.id) == (
        AttemptEnd.TAKEN_BACK,
        "its worker takes no new jobs: it is paused",
    )
    assert scene.job(order.job).state is JobState.RUNNING
    peer.end(order)
    scene.later(2, peer)
    assert (scene.job(order.job).state, peer.queued()) == (JobState.SUCCEEDED, 0)
    pauses.resume(scene.ledger, [peer.id], "ana")
    scene.leader.step(RUNG)
    assert peer.next_order().job == behind.id


def test_a_pause_ends_by_itself_also_under_another_leader(scene: CoordinatorScene, database_url: str) -> None:
    peer = scene.peer()
    pauses.pause(scene.ledger, [peer.id], Pause(for_s=60), "ana")
    job = submit(scene.ledger)
    scene.later(2, peer)
    assert scene.job(job.id).state is JobState.PENDING
    scene.new_leader()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE workers SET paused_until = now()")
    scene.time += 1
    scene.leader.step(Hint())  # nobody rang
    assert peer.next_order().job == job.id


def test_a_job_finds_a_tag_that_an_agent_reports_and_waits_when_it_is_dropped(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    needs = Requirement("burn", tags=("model:sdxl",))
    job = submit(scene.ledger, needs)
    scene.step()
    assert scene.job(job.id).state is JobState.PENDING
    peer.tags = ("model:sdxl",)
    peer.beat()
    scene.time += 1
    scene.leader.step(Hint())
    order = peer.next_order()
    peer.claim(order)
    scene.step()
    peer.end(order)
    peer.beat()
    again = submit(scene.ledger, needs)  # the workflow that took the model has ended; the tag is still there
    scene.step()
    order = peer.next_order()
    assert order.job == again.id
    peer.tags = ()
    peer.beat()
    scene.step()
    assert first_end(scene, again.id)[1] == "its worker does not fit any more (tags): lacks model:sdxl"


def test_a_re_join_clears_what_the_agent_reported(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    peer.tags = ("model:sdxl",)
    peer.beat()
    scene.step()
    fresh = Peer(scene.stores, scene.ledger, "render-1")
    assert fresh.id == peer.id
    job = submit(scene.ledger, Requirement("burn", tags=("model:sdxl",)))
    scene.step()
    assert scene.job(job.id).state is JobState.PENDING  # the beat of the former incarnation still lies there
    fresh.beat()
    scene.step()
    assert scene.job(job.id).state is JobState.PENDING
    assert "lack" in (scene.job(job.id).waiting or "")


def test_jobs_follow_their_group_when_it_is_renamed(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    groups.create(scene.ledger, "farm", None)
    job = submit(scene.ledger, Requirement("burn", group="farm"))
    scene.step()
    assert scene.job(job.id).state is JobState.PENDING
    with scene.ledger.transaction() as tx:
        groups.lock(tx, "farm")
        groups.rename(tx, "farm", "barn")
    scene.set_up(peer, groups=("barn",))
    assert peer.next_order().job == job.id


def test_a_job_whose_group_is_deleted_under_it_says_so_and_goes_on_when_there_is_one_again(
    scene: CoordinatorScene,
) -> None:
    peer = scene.peer()
    groups.create(scene.ledger, "farm", None)
    job = submit(scene.ledger, Requirement("burn", group="farm"))
    scene.set_up(peer, groups=("farm",))
    assert scene.job(job.id).state is JobState.ASSIGNED
    with scene.ledger.transaction() as tx:
        groups.lock(tx, "farm")
        groups.delete(tx, "farm", None)
    scene.leader.step(RUNG)
    assert first_end(scene, job.id)[1] == "its worker does not fit any more (group): is not in group farm"
    assert scene.job(job.id).waiting == "its group farm was deleted; it waits until there is one of this name again"
    groups.create(scene.ledger, "farm", None)
    scene.set_up(peer, groups=("farm",))
    assert scene.job(job.id).state is JobState.ASSIGNED


def test_a_job_that_prefers_a_reported_tag_finds_it_and_does_not_wait_for_it(scene: CoordinatorScene) -> None:
    peers = [scene.peer(f"render-{number}") for number in range(4)]
    holder = peers[2]
    holder.tags = ("model:sdxl",)
    holder.beat()
    scene.step()
    needs = Requirement("burn", prefers=(("model:sdxl", 1.0),))
    for _ in range(2):  # the second after the job that loaded the model has ended
        job = submit(scene.ledger, needs)
        scene.step()
        order = holder.next_order()
        assert order.job == job.id
        holder.claim(order)
        scene.step()
        holder.end(order)
        holder.beat()
        scene.step()
    running = submit(scene.ledger, needs)
    scene.step()
    busy = submit(scene.ledger, needs)
    scene.step()
    assert scene.job(running.id).worker == holder.id
    assert scene.job(busy.id).worker in {peer.id for peer in peers} - {holder.id}


def test_a_group_s_own_strategy_holds_for_its_jobs_at_once(scene: CoordinatorScene) -> None:
    peers = [scene.peer(f"render-{number}") for number in range(2)]
    groups.create(scene.ledger, "farm", None)
    for peer in peers:
        scene.set_up(peer, groups=("farm",), slots=4)
        peer.slots = 4
        peer.beat()
    scene.set_up(peers[0], tags=("optix",))
    scene.step()
    with scene.ledger.transaction() as tx:
        groups.set_strategy(tx, "farm", "capability-first")
    scene.leader.step(RUNG)
    for _ in range(3):
        job = submit(scene.ledger, Requirement("burn", group="farm"))
        scene.step()
        assert scene.job(job.id).worker == peers[1].id  # who has nothing to spare
