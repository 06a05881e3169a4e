"""Coordinator processes: who leads, how they end, and what they do without what they need."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from app.coordinator.hints import allow_events
from app.ledger import jobs, leader
from app.ledger.db import Ledger
from app.pool.model import JobId, JobState
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene
from tests.kit.peer import Peer
from tests.kit.services import eventually

Start = Callable[..., subprocess.Popen[bytes]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(database_url: str, redis_url: str, rq_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts coordinators; all are gone at the end."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(redis_url: str = redis_url) -> subprocess.Popen[bytes]:
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "RQ_REDIS_URL": rq_url,
            "MUSTER_HOME": str(tmp_path),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "app.coordinator"], cwd=ROOT, env={**os.environ, **environment}
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.wait()


def state(ledger: Ledger, job: JobId) -> JobState:
    found = jobs.find(ledger, job)
    assert found is not None
    return found.state


def assigned_within(scene: CoordinatorScene, peer: Peer, seconds: float) -> bool:
    """Whether a new job gets to this worker in time."""
    job = submit(scene.ledger)
    scene.stores.redis.publish(scene.stores.keys.bell, "jobs")

    def assigned() -> bool:
        peer.beat()
        return state(scene.ledger, job.id) is JobState.ASSIGNED

    return eventually(assigned, seconds)


def leader_pid(database_url: str) -> int | None:
    """PostgreSQL's process of the leader's session."""
    with psycopg.connect(database_url) as session:
        row = session.execute(
            "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database"
            " WHERE locktype = 'advisory' AND granted AND datname = current_database() AND classid = 0 AND objid = %s",
            (leader.LEADER_LOCK,),
        ).fetchone()
    return row[0] if row else None


def test_sigterm_ends_a_leader_within_two_seconds(scene: CoordinatorScene, start: Start) -> None:
    process = start()
    eventually(lambda: leader.held(scene.ledger))
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert time.monotonic() - begun < 2
    assert not leader.held(scene.ledger)


def test_a_standby_leads_when_the_leader_is_frozen_and_the_thawed_one_does_no_harm(
    scene: CoordinatorScene, start: Start, database_url: str
) -> None:
    first = start()
    eventually(lambda: leader.held(scene.ledger))
    leading = leader_pid(database_url)
    start()
    first.send_signal(signal.SIGSTOP)
    eventually(lambda: leader_pid(database_url) not in (None, leading), 10)
    peer = Peer(scene.stores, scene.ledger)
    assert assigned_within(scene, peer, 10)
    first.send_signal(signal.SIGCONT)
    second = submit(scene.ledger)
    order = peer.pop()
    assert order is not None
    peer.claim(order)
    peer.end(order)
    eventually(lambda: state(scene.ledger, second.id) is JobState.ASSIGNED)
    eventually(lambda: peer.queued() == 1)


def test_a_claim_is_answered_by_the_event_within_less_than_a_sweep(scene: CoordinatorScene, start: Start) -> None:
    start()
    peer = Peer(scene.stores, scene.ledger)
    waits = []
    for _ in range(3):
        assert assigned_within(scene, peer, 10)
        order = peer.next_order()
        begun = time.monotonic()
        peer.claim(order)
        eventually(lambda: state(scene.ledger, order.job) is JobState.RUNNING)  # noqa: B023
        waits.append(time.monotonic() - begun)
        peer.end(order)
        eventually(lambda: state(scene.ledger, order.job) is JobState.SUCCEEDED)  # noqa: B023
    assert min(waits) < 0.3


def test_it_works_without_keyspace_events(scene: CoordinatorScene, start: Start, redis_url: str) -> None:
    """Some managed servers forbid CONFIG."""
    scene.stores.redis.execute_command("ACL SETUSER plain on >secret ~* &* +@all -config")
    start(redis_url.rpartition("@")[0].partition("//")[0] + "//plain:secret@" + redis_url.rpartition("@")[2])
    peer = Peer(scene.stores, scene.ledger)
    assert assigned_within(scene, peer, 10)
    order = peer.next_order()
    peer.claim(order)
    eventually(lambda: state(scene.ledger, order.job) is JobState.RUNNING)
    assert scene.stores.redis.config_get("notify-keyspace-events")["notify-keyspace-events"] == ""
    scene.stores.redis.execute_command("ACL DELUSER plain")


def test_it_goes_on_when_redis_cuts_every_connection(scene: CoordinatorScene, start: Start) -> None:
    process = start()
    peer = Peer(scene.stores, scene.ledger)
    assert assigned_within(scene, peer, 10)
    order = peer.next_order()
    for kind in ("normal", "pubsub"):
        scene.stores.redis.execute_command("CLIENT KILL", "TYPE", kind, "SKIPME", "yes")
    peer.claim(order)
    eventually(lambda: state(scene.ledger, order.job) is JobState.RUNNING)
    assert process.poll() is None


def test_it_goes_on_when_postgresql_cuts_every_connection(
    scene: CoordinatorScene, start: Start, database_url: str
) -> None:
    process = start()
    eventually(lambda: leader.held(scene.ledger))
    with psycopg.connect(database_url, autocommit=True) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert assigned_within(scene, Peer(scene.stores, scene.ledger), 15)
    assert process.poll() is None


def test_flags_of_keyspace_events_are_added_to_what_is_set(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.config_set("notify-keyspace-events", "El")
        assert allow_events(client)
        assert set(client.config_get("notify-keyspace-events")["notify-keyspace-events"]) == set("EKltx")
        client.config_set("notify-keyspace-events", "KA")
        assert allow_events(client)
        assert set(client.config_get("notify-keyspace-events")["notify-keyspace-events"]) == set("AK")
