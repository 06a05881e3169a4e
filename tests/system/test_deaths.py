"""A job that takes workers down ends, however few can run it, and what merely lost its worker goes on."""

from __future__ import annotations

from typing import Any

import pytest

from app.ledger import attempts
from app.pool.model import Job, JobState, Requirement
from app.pool.protocol import Order
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene, begun
from tests.kit.peer import Peer


def silent(scene: CoordinatorScene, peer: Peer, *others: Peer) -> None:
    """The worker is silent until it is down, while these beat."""
    peer.silent()
    scene.later(50, *others)


def again(scene: CoordinatorScene, name: str) -> Peer:
    """A new life of this worker's agent."""
    return scene.peer(name)


def due(scene: CoordinatorScene) -> None:
    """What pauses goes on."""
    with scene.ledger.transaction() as tx:
        assert tx._connection is not None
        tx._connection.execute("UPDATE jobs SET not_before = now() WHERE not_before IS NOT NULL")
    scene.step()


def taken_on(scene: CoordinatorScene, peer: Peer) -> Order:
    due(scene)
    return begun(scene, peer)


def ended(scene: CoordinatorScene, order: Order, places: str) -> Job:
    job = scene.job(order.job)
    assert (job.state, job.failures) == (JobState.FAILED, 0)
    assert job.error == f"3 workers died under it, without a checkpoint in between: {places}"
    return job


def test_a_job_that_hangs_its_hosts_ends_though_only_two_can_run_it(scene: CoordinatorScene) -> None:
    pair = [scene.peer("vm-1"), scene.peer("vm-2")]
    submit(scene.ledger, Requirement("burn", only_workers=tuple(peer.id for peer in pair)))
    scene.step()
    second, first = sorted(pair, key=Peer.queued)
    one, two = first.worker.name, second.worker.name
    order = begun(scene, first)
    silent(scene, first, second)
    assert begun(scene, second).attempt == 2  # at once
    first = again(scene, one)
    silent(scene, second, first)
    assert first.queued() == 0  # it pauses
    assert f"({one}, {two})" in (scene.job(order.job).waiting or "")
    taken_on(scene, first)
    silent(scene, first, again(scene, two))
    ended(scene, order, f"{one} twice, {two}")


@pytest.mark.parametrize("spec", [{}, {"strict": True}])
def test_a_job_that_kills_the_only_agent_ends(scene: CoordinatorScene, spec: dict[str, Any]) -> None:
    peer = scene.peer("vm-1")
    order = scene.running(peer, **spec)
    for _ in range(2):
        peer = again(scene, "vm-1")
        taken_on(scene, peer)
    again(scene, "vm-1")
    ended(scene, order, "vm-1 3 times")


def test_an_agent_that_was_killed_while_it_left_has_not_died_under_its_jobs(scene: CoordinatorScene) -> None:
    peer = scene.peer("vm-1")
    order = scene.running(peer)
    for _ in range(3):
        peer.beat(leaving=True)
        scene.step()
        peer = again(scene, "vm-1")  # its good-bye never came
        taken_on(scene, peer)
    assert scene.job(order.job).state is JobState.RUNNING

    witness = scene.peer("vm-2")
    for _ in range(3):
        peer.beat(leaving=True)
        scene.step()
        silent(scene, peer, witness)
        begun(scene, witness)
        peer, witness = witness, again(scene, peer.worker.name)
    assert scene.job(order.job).state is JobState.RUNNING
    assert len(attempts.of_job(scene.ledger, order.job)) == 7


def test_a_lone_worker_that_is_cut_off_keeps_its_job_as_often_as_it_comes_back(scene: CoordinatorScene) -> None:
    peer = scene.peer("vm-1")
    order = scene.running(peer)
    for _ in range(4):
        silent(scene, peer)
        peer.beat()
        scene.step()
    assert (scene.job(order.job).state, scene.job(order.job).attempt) == (JobState.RUNNING, 1)


def test_a_job_that_kills_its_slot_again_and_again_ends(scene: CoordinatorScene) -> None:
    peer = scene.peer("vm-1")
    order = scene.running(peer)
    for number in range(3):
        peer.end(order, "stopped", cause="slot", signal=9)
        peer.beat()
        scene.step()
        if number < 2:
            order = taken_on(scene, peer)
    job = scene.job(order.job)
    assert job.state is JobState.FAILED
    assert job.error == "3 slot processes died under it, without a checkpoint in between: vm-1 3 times"
