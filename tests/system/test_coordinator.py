"""Dispatch, claims, reports and cancelling, by the coordinator's steps on real stores."""

from __future__ import annotations

from app.coordinator.hints import Hint
from app.ledger import attempts, jobs, open_attempts
from app.pool.keys import queue
from app.pool.model import JobState, WorkerId
from app.pool.protocol import LeaseState
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene, state_of


def test_a_job_is_dispatched_claimed_and_ended_and_nothing_is_left(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    lease = peer.lease(order.job)
    assert lease is not None
    assert (lease.state, lease.nonce) == (LeaseState.CLAIMED, "n1")
    peer.end(order, result={"frames": 3})
    scene.step()
    assert scene.job(order.job).state is JobState.SUCCEEDED
    assert state_of(peer.lease(order.job)) is LeaseState.ENDED
    scene.later(2, peer)
    assert peer.lease(order.job) is None
    assert scene.stores.redis.xlen(scene.stores.keys.out(peer.id)) == 0
    assert peer.queued() == 0


def test_an_order_carries_the_newest_kept_checkpoint(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.report("checkpoint", order, number=1, state={"frame": 10}, fraction=0.1)
    peer.report("checkpoint", order, number=2, state={"frame": 20}, fraction=0.2)
    peer.end(order, "failed", cause="guard")
    scene.step()
    again = peer.pop()
    assert again is not None
    assert again.attempt == 2
    assert again.resume is not None
    assert (again.resume.attempt, again.resume.number, again.resume.state) == (1, 2, {"frame": 20})


def test_a_full_worker_is_given_nothing_until_its_attempt_ends(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    second = submit(scene.ledger)
    scene.step()
    assert scene.job(second.id).state is JobState.PENDING
    assert "full" in (scene.job(second.id).waiting or "")
    peer.end(order)
    scene.step()
    assert scene.job(second.id).state is JobState.ASSIGNED


def test_a_second_delivery_is_refused_and_the_first_runs_on(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.report("claim", order, nonce="n2")
    peer.report("claim", order, nonce="n1")
    scene.step()
    assert scene.job(order.job).state is JobState.RUNNING
    refused = attempts.refused_reports(scene.ledger, order.job)
    assert [each["kind"] for each in refused] == ["claim"]


def test_a_claim_of_an_attempt_that_was_taken_back_is_refused(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    scene.step()
    order = peer.pop()
    assert order is not None
    open_attempts.take_back(scene.ledger, job.id, 1, "test")
    peer.claim(order)
    scene.step()
    assert scene.job(job.id).attempt == 2
    lease = peer.lease(job.id)
    assert state_of(lease) is LeaseState.REVOKED or (lease and lease.attempt == 2)


def test_a_cancelled_job_is_asked_to_stop_and_its_slot_is_free_when_it_has(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    jobs.cancel(scene.ledger, order.job)
    scene.leader.step(Hint(jobs=True, cancelled={order.job}))
    lease = peer.lease(order.job)
    assert lease is not None
    assert (lease.state, lease.why, lease.grace_s) == (LeaseState.REVOKED, "cancel", 5)
    peer.end(order, "cancelled", cause="cancel")
    scene.step()
    assert scene.job(order.job).attempt_ended
    second = submit(scene.ledger)
    scene.step()
    assert scene.job(second.id).state is JobState.ASSIGNED


def test_cancelling_before_the_start_leaves_neither_lease_nor_envelope(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    scene.step()
    assert peer.queued() == 1
    jobs.cancel(scene.ledger, job.id)
    scene.leader.step(Hint(jobs=True, cancelled={job.id}))
    assert peer.queued() == 0
    assert peer.lease(job.id) is None


def test_a_malformed_report_is_dropped_and_the_rest_goes_on(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    stream = scene.stores.keys.out(peer.id)
    scene.stores.redis.xadd(stream, {"report": "{"})
    scene.stores.redis.xadd(stream, {"something": "else"})
    scene.stores.redis.xadd(stream, {"report": b"\xff"})
    scene.stores.redis.xadd(stream, {"report": "[" * 100_000})
    scene.stores.rq.rpush(f"rq:queue:{queue(peer.id)}", b"\xff")
    scene.stores.redis.set(scene.stores.keys.beat(WorkerId("0" * 12)), b"\xff")
    peer.report("checkpoint", order, number=2**70, state={})
    peer.end(order)
    scene.step()
    assert scene.job(order.job).state is JobState.SUCCEEDED
    assert scene.stores.redis.xlen(stream) == 0


def test_a_beat_that_is_no_text_is_that_workers_own_trouble(scene: CoordinatorScene) -> None:
    peer, other = scene.peer("render-1"), scene.peer("render-2")
    scene.stores.redis.set(scene.stores.keys.beat(peer.id), b'{"worker": "\xff"}')
    scene.step()
    job = submit(scene.ledger)
    scene.step()
    assert scene.job(job.id).worker == other.id


def test_a_worker_speaks_for_no_other(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    other = scene.peer("render-2")
    peer.tell_through(other.id, order)
    scene.step()
    assert scene.job(order.job).state is JobState.RUNNING
