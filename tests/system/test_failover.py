"""Silence, good-byes and new incarnations: what becomes of a worker's jobs."""

from __future__ import annotations

from app.ledger import events
from app.pool.model import Health, JobState
from app.pool.protocol import LeaseState, Order
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene, state_of
from tests.kit.peer import Peer


def test_an_older_incarnation_s_claim_is_refused_and_its_attempts_move_on(scene: CoordinatorScene) -> None:
    old = scene.peer()
    submit(scene.ledger)
    scene.step()
    order = old.pop()
    assert order is not None
    new = Peer(scene.stores, scene.ledger)
    assert new.id == old.id
    old.claim(order)
    new.beat()
    scene.step()
    scene.step()
    assert scene.job(order.job).attempt == 2
    assert scene.job(order.job).incarnation in (None, new.worker.incarnation)


def test_a_silent_worker_loses_what_has_not_started_and_then_what_runs(scene: CoordinatorScene) -> None:
    victim = scene.peer()
    first = scene.running(victim)
    witness = scene.peer("render-2")
    victim.silent()
    scene.later(36, witness)
    assert scene.health(victim) is Health.DEGRADED
    assert scene.job(first.job).state is JobState.RUNNING
    scene.later(11, witness)
    assert scene.health(victim) is Health.DOWN
    again = witness.pop()
    assert again is not None
    assert (again.job, again.attempt) == (first.job, 2)
    assert state_of(victim.lease(first.job)) is LeaseState.REVOKED
    assert events.notifications(scene.ledger, "ana") == []  # not before both workers are known
    witness.claim(again)
    scene.step()
    witness.report("claim", again, nonce="n1")
    scene.step()
    told = events.notifications(scene.ledger, "ana")
    assert [(each.id, each.facts["from_name"], each.facts["to_name"]) for each in told] == [
        (f"job.moved:{first.job}:1", "render-1", "render-2")
    ]
    assert "silent" in told[0].facts["cause"]
    assert told[0].facts["lost_s"] is not None


def test_what_no_other_worker_could_run_stays_and_goes_on_when_its_worker_returns(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.silent()
    scene.later(50)
    assert scene.health(peer) is Health.DOWN
    assert scene.job(order.job).state is JobState.RUNNING
    peer.beat()
    scene.step()
    assert scene.health(peer) is Health.HEALTHY
    peer.end(order)
    scene.step()
    assert scene.job(order.job).state is JobState.SUCCEEDED


def test_a_result_that_has_arrived_is_never_thrown_away(scene: CoordinatorScene) -> None:
    victim = scene.peer()
    order = scene.running(victim)
    witness = scene.peer("render-2")
    victim.silent()
    scene.later(43, witness)
    victim.end(order)
    scene.time += 3
    scene.leader.health.judge(scene.leader.health.sightings.look())
    assert scene.health(victim) is Health.DOWN
    assert scene.job(order.job).state is JobState.SUCCEEDED


def leave(scene: CoordinatorScene, peer: Peer, order: Order) -> None:
    """It says good-bye, and what ran there has stopped."""
    peer.beat(leaving=True)
    peer.end(order, "stopped", cause="good-bye")
    peer.report("goodbye")
    scene.step()


def test_a_good_bye_makes_a_worker_left_and_its_jobs_pending(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    leave(scene, peer, order)
    assert scene.health(peer) is Health.LEFT
    job = scene.job(order.job)
    assert (job.state, job.attempt, job.failures) == (JobState.PENDING, 2, 0)
    assert "good-bye" in (job.waiting or "")
    assert scene.stores.redis.zcard(scene.stores.keys.load) == 0


def test_a_worker_that_returns_after_its_good_bye_is_given_its_job_with_its_first_beat(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    leave(scene, peer, order)
    scene.new_leader()
    scene.step()
    assert peer.lease(order.job) is None
    again = Peer(scene.stores, scene.ledger)
    scene.step()
    again.beat()
    scene.step()
    assert again.next_order().attempt == 2


def test_a_leaving_worker_gives_back_what_has_not_started(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    scene.step()
    peer.beat(leaving=True)
    scene.step()
    assert scene.job(job.id).state is JobState.PENDING
    assert peer.queued() == 0
    assert peer.lease(job.id) is None


def test_a_job_does_not_return_to_where_it_failed_while_another_can_run_it(scene: CoordinatorScene) -> None:
    peers = {peer.id: peer for peer in (scene.peer(), scene.peer("render-2"))}
    submit(scene.ledger)
    scene.step()
    first = next(order for peer in peers.values() if (order := peer.pop()))
    peers[first.worker].claim(first)
    peers[first.worker].end(first, "failed", cause="guard")
    scene.step()
    scene.step()
    second = next(order for peer in peers.values() if (order := peer.pop()))
    assert second.worker != first.worker


def test_a_worker_whose_beats_get_lost_is_given_nothing_until_one_gets_through(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer, strict=True)
    scene.later(30)
    peer.end(order, "stopped", cause="deadline")
    submit(scene.ledger)
    scene.step()
    assert scene.health(peer) is Health.HEALTHY  # not yet silent for as long as it takes
    assert scene.job(order.job).state is JobState.PENDING
    assert peer.queued() == 0
    peer.beat()
    scene.step()
    assert peer.queued() == 1


def test_what_it_said_of_its_beats_is_old_when_they_come_again(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer, strict=True)
    scene.later(30)
    peer.beat()
    scene.step()
    peer.end(order, "stopped", cause="deadline")
    scene.step()
    assert peer.next_order().attempt == 2


def test_a_new_incarnation_is_given_jobs_whatever_the_last_one_said_of_its_beats(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer, strict=True)
    scene.later(30)
    peer.end(order, "stopped", cause="deadline")
    scene.step()
    again = Peer(scene.stores, scene.ledger)
    scene.step()
    again.beat()
    scene.step()
    assert again.next_order().attempt == 2
