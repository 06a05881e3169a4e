"""Jobs whose older attempt may still hold a lease on the worker that has room: they wait, and are in nobody's way."""

from __future__ import annotations

import json
from collections.abc import Iterable

from app.coordinator.placement.dispatch import HEADS, MOST_HEADS, OLDER_ATTEMPT
from app.ledger import jobs
from app.pool.model import Job, JobSpec, JobState, Requirement
from tests.kit.actors import submit
from tests.kit.coordinator_scene import BELL, CoordinatorScene, state
from tests.kit.peer import Peer

ANY, OTHER = Requirement("burn"), Requirement("burn", prefers=(("liked", 0.5),))


def many(scene: CoordinatorScene, requirement: Requirement, count: int, priority: int = 50) -> list[Job]:
    return jobs.submit_all(scene.ledger, [JobSpec(requirement, owner="ana", priority=priority)] * count)


def left_behind(scene: CoordinatorScene, peer: Peer, delayed: Iterable[Job]) -> None:
    """An attempt of each of these was taken from the worker, which may still run it; they hold no slot."""
    lease = json.dumps({"attempt": 0, "state": "revoked", "slots": 0, "vram_mb": 0, "incarnation": 1})
    for job in delayed:
        scene.stores.redis.hset(scene.stores.keys.lease(peer.id), job.id, lease)


def test_a_job_goes_to_the_free_slot_behind_any_number_of_them(scene: CoordinatorScene) -> None:
    for count in (HEADS, 8 * HEADS + 1, MOST_HEADS + 1):
        peer = scene.wide(2, f"render-{count}")
        delayed = many(scene, Requirement("burn", only_workers=(peer.id,)), count)
        last = submit(scene.ledger, Requirement("burn", only_workers=(peer.id,)), priority=49)
        left_behind(scene, peer, delayed)
        scene.leader.step(BELL)
        assert scene.job(last.id).state is JobState.ASSIGNED, count


def test_they_let_no_lower_priority_pass_jobs_that_were_not_read(scene: CoordinatorScene) -> None:
    peer = scene.wide(40)
    high, low = many(scene, ANY, 100, priority=90), many(scene, OTHER, 32, priority=10)
    left_behind(scene, peer, high[:HEADS])
    scene.leader.step(BELL)
    assert state(scene, *high).count(JobState.ASSIGNED) == 40
    assert state(scene, *low).count(JobState.ASSIGNED) == 0


def test_all_of_them_say_what_they_wait_for(scene: CoordinatorScene) -> None:
    peer = scene.wide(64)
    delayed = many(scene, ANY, 100)
    left_behind(scene, peer, delayed)
    scene.leader.step(BELL)
    assert {scene.job(job.id).waiting for job in delayed} == {OLDER_ATTEMPT.words}
    assert scene.job(delayed[0].id).waiting_for is OLDER_ATTEMPT.waiting_for
