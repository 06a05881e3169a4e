"""What two stores disagree on, and a leader that dies between them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.hints import Hint
from app.ledger import attempts, jobs, policy
from app.pool.faults import EXIT_CODE
from app.pool.keys import queue
from app.pool.model import AttemptEnd, Health, JobId, JobState
from app.pool.protocol import LeaseState, Order
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene, state_of


def test_a_cancel_whose_bell_was_lost_is_found(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    jobs.cancel(scene.ledger, order.job)
    scene.step()
    lease = peer.lease(order.job)
    assert lease is not None
    assert lease.why == "cancel"


def test_an_attempt_whose_envelope_was_lost_is_taken_back_after_two_beats_without_it(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    scene.step()
    scene.stores.rq.flushdb()
    scene.step()
    assert scene.job(job.id).attempt == 1
    scene.later(6, peer)
    assert scene.job(job.id).attempt == 2
    order = peer.pop()
    assert order is not None
    assert order.attempt == 2
    assert next(each.end for each in attempts.of_job(scene.ledger, job.id)) is AttemptEnd.TAKEN_BACK


def test_an_envelope_that_a_slot_popped_before_it_died_is_taken_back_and_forgotten(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    scene.step()
    waiting = f"rq:queue:{queue(peer.id)}"
    envelope = scene.stores.rq.lmove(waiting, f"{waiting}:intermediate").decode()
    scene.later(6, peer)
    assert scene.job(job.id).attempt == 2
    assert not scene.stores.rq.exists(f"{waiting}:intermediate", f"rq:job:{envelope}")
    order = peer.pop()
    assert order is not None and order.attempt == 2


def test_a_refused_claim_holds_its_slot_only_until_two_beats_have_gone_by(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    cancelled = submit(scene.ledger)
    scene.step()
    order = peer.next_order()
    jobs.cancel(scene.ledger, cancelled.id)
    scene.leader.step(Hint(jobs=True, cancelled={cancelled.id}))
    peer.claim(order)
    scene.leader.step(Hint(reports={peer.id}))
    assert state_of(peer.lease(order.job)) is LeaseState.REVOKED
    peer.attempts.clear()
    submit(scene.ledger)
    refused = scene.time
    while not peer.queued() and scene.time < refused + 10:
        scene.time += 0.5
        peer.beat()
        scene.leader.step(Hint())
    assert scene.time <= refused + 3


@pytest.mark.parametrize("then", ["leaves", "is silent for good", "is never idle again"])
def test_a_popped_envelope_is_forgotten_also_where_its_worker(scene: CoordinatorScene, then: str) -> None:
    policy.write(scene.ledger, {"queue_depth": 1}, "test")
    peer = scene.peer()
    busy = scene.running(peer)
    job = submit(scene.ledger)
    scene.step()
    waiting = f"rq:queue:{queue(peer.id)}"
    envelope = scene.stores.rq.lmove(waiting, f"{waiting}:intermediate").decode()
    if then == "leaves":
        peer.end(busy)
        peer.report("goodbye")
    elif then == "is silent for good":
        peer.silent()
    scene.later(60 if then == "is silent for good" else 15, *([peer] if then == "is never idle again" else []))
    assert scene.job(job.id).attempt == 2
    assert not scene.stores.rq.exists(f"{waiting}:intermediate", f"rq:job:{envelope}")


def test_a_beat_that_may_have_been_under_way_at_the_first_look_proves_nothing(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    scene.step()
    scene.stores.rq.flushdb()
    scene.step()
    scene.later(2, peer)
    assert scene.job(job.id).attempt == 1


def test_an_envelope_that_a_stale_leader_put_late_is_removed(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    Envelopes(scene.stores.rq).put([Order(job.id, 7, peer.id, peer.worker.incarnation, "burn", {})])
    scene.step()
    order = peer.next_order()
    assert order.attempt == 1
    assert peer.queued() == 0


def test_what_the_ledger_does_not_move_is_given_back_at_once(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    with scene.ledger.transaction() as tx:
        assert tx._connection is not None
        tx._connection.execute("UPDATE workers SET intent = 'paused'")  # and no bell says so
    job = submit(scene.ledger)
    scene.leader.step(Hint(jobs=True))
    assert scene.job(job.id).state is JobState.PENDING
    assert peer.lease(job.id) is None
    assert peer.queued() == 0


def test_a_room_that_a_stale_leader_removed_is_written_again(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    scene.stores.redis.hdel(scene.stores.keys.worker(peer.id), "room")
    scene.stores.redis.delete(scene.stores.keys.load, *scene.stores.redis.scan_iter(scene.stores.keys.eligible("*")))
    submit(scene.ledger)
    scene.step()
    assert peer.next_order().attempt == 1


def test_a_running_attempt_that_its_worker_does_not_have_is_taken_away(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.attempts.clear()
    scene.later(6, peer)
    assert scene.job(order.job).attempt == 2


def test_an_attempt_that_the_ledger_does_not_hold_is_revoked(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    peer.attempts[JobId("0" * 12)] = 3
    peer.beat()
    scene.step()
    assert state_of(peer.lease(JobId("0" * 12))) is LeaseState.REVOKED


def test_a_wiped_redis_costs_no_job(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    scene.stores.redis.flushdb()
    scene.step()
    peer.beat()
    scene.step()
    lease = peer.lease(order.job)
    assert lease is not None
    assert (lease.state, lease.nonce) == (LeaseState.CLAIMED, "n1")
    assert scene.health(peer) is Health.HEALTHY


POINTS = (
    "dispatch.placed",
    "dispatch.assigned",
    "dispatch.put",
    "reports.applied",
    "reports.answered",
    "reconcile.begun",
    "health.changed",
    "failover.taken",
)
ONE_STEP = """
import sys, redis
from app.coordinator.control_loop import ControlLoop
from app.coordinator.hints import Hint
from app.coordinator.stores import Stores
from app.ledger.db import Ledger
from app.pool.keys import Keys
database, pool, rq = sys.argv[1:]
stores = Stores(Ledger.connect(database), redis.Redis.from_url(pool, decode_responses=True),
                redis.Redis.from_url(rq), Keys("pool:"))
ControlLoop(stores).step(Hint(everything=True))
"""


@pytest.mark.parametrize("point", POINTS)
def test_a_leader_killed_between_two_stores_neither_loses_nor_doubles_a_job(
    scene: CoordinatorScene, point: str, database_url: str, redis_url: str, rq_url: str
) -> None:
    peer = scene.peer()
    begun = scene.running(peer) if point.startswith("reports") else None
    if begun:
        peer.end(begun)
    waiting = submit(scene.ledger)
    if point == "health.changed":
        scene.step()
        peer.report("goodbye")
    elif point == "failover.taken":
        scene.step()
        peer.beat(leaving=True)
    died = subprocess.run(
        [sys.executable, "-c", ONE_STEP, database_url, redis_url, rq_url],
        env={**os.environ, "MUSTER_FAULT": f"{point}=exit"},
        check=False,
    )
    assert died.returncode == EXIT_CODE
    scene.new_leader()
    if point == "health.changed":
        peer = scene.peer()  # the next incarnation
    orders = []
    for _ in range(8):
        scene.later(1, peer)
        if order := peer.pop():
            orders.append(order)
            peer.claim(order, nonce=f"n{order.attempt}")
            peer.end(order)
    scene.later(3, peer)
    assert scene.job(waiting.id).state is JobState.SUCCEEDED
    assert len({(order.job, order.attempt) for order in orders}) == len(orders)
    if begun:
        assert scene.job(begun.job).state is JobState.SUCCEEDED
    assert scene.stores.live.leases(peer.id) == {}
