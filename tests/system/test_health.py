"""Silence by event alone and by sweep alone, new intervals, workers that do not take; what the admins are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from app.coordinator.control_loop import ControlLoop
from app.coordinator.health.presence import ASK_S
from app.coordinator.hints import Hint, Hints
from app.ledger import events, investigations, policy, tokens
from app.ledger.registry import workers
from app.pool.keys import queue
from app.pool.live import BeatReading
from app.pool.loop import Bell, Loop
from app.pool.model import Health, JobState
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene
from tests.kit.peer import Peer
from tests.kit.services import eventually

INTERVAL_S = 1.0


@contextmanager
def leader(scene: CoordinatorScene, sweep_s: float, events: bool) -> Iterator[None]:
    """The coordinator's loop and its ear for hints, in real time."""
    bell = Bell()
    hints = Hints(scene.stores.redis, scene.stores.keys, bell.ring)
    control_loop = ControlLoop(scene.stores, sweep_s=sweep_s)

    def lead() -> None:
        while bell.wait(control_loop.period_s(hints.events)):
            control_loop.step(hints.take())

    presence = Loop("presence", control_loop.ask_presence, ASK_S, Bell())
    threads = [threading.Thread(target=run, name=run.__qualname__) for run in (hints.run, presence.run, lead)]
    threads[0].start()
    eventually(lambda: hints.events)
    if not events:
        scene.stores.redis.config_set("notify-keyspace-events", "")
    for thread in threads[1:]:
        thread.start()
    try:
        yield
    finally:
        for each in (bell, hints.bell, presence.bell):
            each.stop()
        for thread in threads:
            thread.join(5)
        assert not [thread.name for thread in threads if thread.is_alive()]


@contextmanager
def beating(peer: Peer) -> Iterator[None]:
    """It beats in time until the end."""
    end = threading.Event()

    def run() -> None:
        while not end.wait(INTERVAL_S * 0.9):
            peer.beat()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize(("sweep_s", "events"), [(600.0, True), (1.0, False)], ids=["the event", "the sweep"])
def test_a_frozen_worker_s_envelopes_are_in_another_s_queue_within_a_second_by_either_alone(
    scene: CoordinatorScene, sweep_s: float, events: bool
) -> None:
    changes = {"heartbeat_interval_s": INTERVAL_S, "queue_depth": 2, "fast_failover": False}
    policy.write(scene.ledger, changes, "test")
    victim = Peer(scene.stores, scene.ledger, "render-1", INTERVAL_S)
    with leader(scene, sweep_s, events):
        with beating(victim):
            victim.beat()
            ids = {submit(scene.ledger).id for _ in range(3)}
            scene.stores.redis.publish(scene.stores.keys.bell, "jobs")
            victim.claim(victim.next_order())
            eventually(lambda: victim.queued() == 2)
            witness = Peer(scene.stores, scene.ledger, "render-2", INTERVAL_S)
            witness.beat()
            scene.stores.redis.publish(scene.stores.keys.bell, f"worker {witness.id}")
        with beating(witness):
            victim.beat()
            beat = scene.stores.keys.beat(victim.id)
            eventually(lambda: not scene.stores.redis.exists(beat))
            expired = time.monotonic()
            eventually(lambda: witness.queued() >= 2)
            assert time.monotonic() - expired < 1.0
            assert victim.queued() == 0
            orders = [witness.next_order() for _ in range(2)]
            assert {order.attempt for order in orders} == {2}
            assert {order.job for order in orders} < ids


def test_what_an_event_s_look_left_undecided_is_looked_at_again_though_the_sweep_is_slow(
    scene: CoordinatorScene,
) -> None:
    policy.write(scene.ledger, {"heartbeat_interval_s": 1}, "test")
    scene.new_leader(sweep_s=600)
    peer = Peer(scene.stores, scene.ledger, interval_s=1)
    peer.beat()
    scene.step()
    for _ in range(3):
        scene.leader.step(Hint())  # nothing is unsure: from here on it looks each ten minutes
    peer.silent()
    scene.time += 3  # of which a fifth of a second counts: the leader did not look meanwhile
    scene.leader.step(Hint(beats=True))
    assert scene.health(peer) is Health.HEALTHY
    end = scene.time + 3
    while scene.time < end and scene.health(peer) is Health.HEALTHY:
        scene.time += scene.leader.period_s(events=True)
        scene.leader.step(Hint())
    assert scene.health(peer) is Health.DEGRADED


@pytest.mark.parametrize("missed_beats", [1, 2, 5])
def test_a_changed_interval_is_no_alarm_and_each_is_judged_by_its_own(
    scene: CoordinatorScene, missed_beats: int
) -> None:
    policy.write(scene.ledger, {"missed_beats": missed_beats}, "test")
    old = Peer(scene.stores, scene.ledger, "render-1", 15, missed_beats)
    old.beat()
    scene.step()
    policy.write(scene.ledger, {"heartbeat_interval_s": 1}, "test")
    scene.later(15)  # it has not heard of it yet, and its key is there
    quick = Peer(scene.stores, scene.ledger, "render-2", 1, missed_beats)
    scene.later(3, quick)
    assert scene.health(old) is Health.HEALTHY
    old.silent()
    quick.silent()
    clocks, step_s = quick.clocks, 0.1
    while scene.health(quick) is Health.HEALTHY:
        scene.time += step_s
        scene.step()
    assert scene.health(old) is Health.HEALTHY
    assert 0 <= scene.leader.health.sightings.silence_s(quick.id) - clocks.ttl_s <= step_s


def test_a_worker_that_has_joined_is_given_the_time_to_start_before_its_first_beat_is_missed(
    scene: CoordinatorScene,
) -> None:
    policy.write(scene.ledger, {"heartbeat_interval_s": 1}, "test")
    scene.peer("render-1")
    slow = Peer(scene.stores, scene.ledger, "render-2", interval_s=1)
    again = Peer(scene.stores, scene.ledger, "render-1", interval_s=1)  # its former life has beaten
    for _ in range(45):
        scene.time += 0.2
        scene.step()
    assert scene.health(slow) is scene.health(again) is Health.HEALTHY
    for _ in range(10):
        scene.time += 0.2
        scene.step()
    assert Health.HEALTHY not in {scene.health(slow), scene.health(again)}


def test_a_beat_of_an_older_incarnation_is_no_sign_of_life(scene: CoordinatorScene) -> None:
    old = scene.peer()
    new = Peer(scene.stores, scene.ledger)
    new.beat()
    scene.step()
    old.beat()  # over the new one's, and for ever
    scene.later(36, old)
    assert scene.health(new) is Health.DEGRADED


def test_what_the_judge_could_not_see_is_no_silence(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    peer.silent()
    scene.time += 600
    scene.step()
    assert scene.health(peer) is Health.HEALTHY


def test_a_worker_that_beats_and_does_not_take_is_degraded_until_it_has_taken(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    scene.step()
    witness = scene.peer("render-2")
    scene.later(9, peer, witness)
    assert scene.health(peer) is Health.HEALTHY
    scene.later(3, peer, witness)
    assert scene.health(peer) is Health.DEGRADED
    found = workers.find(scene.ledger, peer.id)
    assert found is not None
    assert (found.reason or "").startswith("does not take")
    assert witness.next_order().attempt == 2
    scene.new_leader()
    scene.later(3, peer, witness)
    assert scene.health(peer) is Health.DEGRADED
    stale = peer.pop()
    assert stale is not None
    peer.claim(stale)
    scene.step()
    scene.step()
    assert scene.health(peer) is Health.HEALTHY
    assert scene.job(job.id).attempt == 2
    assert scene.job(job.id).worker == witness.id


def test_a_busy_worker_s_queue_is_no_sign_that_it_does_not_take(scene: CoordinatorScene) -> None:
    policy.write(scene.ledger, {"queue_depth": 1}, "test")
    peer = scene.peer()
    scene.running(peer)
    submit(scene.ledger)
    scene.later(20, peer)
    assert peer.queued() == 1
    assert scene.health(peer) is Health.HEALTHY


def test_admins_are_told_of_trouble_and_of_its_end_each_once(scene: CoordinatorScene) -> None:
    tokens.create(scene.ledger, "admin", "ann")
    tokens.create(scene.ledger, "admin", "ben")
    tokens.create(scene.ledger, "creator", "cem")
    peer = scene.peer()
    peer.silent()
    scene.later(50)
    peer.beat()
    scene.step()
    for name in ("ann", "ben"):
        told = events.notifications(scene.ledger, name)
        assert {each.kind for each in told} == {"worker.degraded", "worker.down", "worker.recovered"}
        assert len(told) == 3
        assert "healthy again after" in told[0].sentence
    assert events.notifications(scene.ledger, "cem") == []
    kinds = [each.kind for each in events.listed(scene.ledger, worker=peer.id)]
    assert kinds == ["worker.recovered", "worker.down", "worker.degraded"]


def test_an_investigation_stays_open_until_a_person_resolves_it(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    for _ in range(2):
        peer.silent()
        scene.later(50)
        peer.beat()
        scene.step()
    (found,) = investigations.listed(scene.ledger, open_only=True)
    assert found.cause == "host silent"
    assert found.silent_at < found.opened_at < datetime.now().astimezone()
    assert found.evidence["transitions"][0]["to_health"] == "down"
    assert found.evidence["beat"]["seq"] == 1
    assert investigations.open_of(scene.ledger, [peer.id]) == {peer.id: found.id}
    assert investigations.add_note(scene.ledger, found.id, "ann", "the cable")
    assert investigations.resolve(scene.ledger, found.id, "ann", "plugged in")
    assert not investigations.resolve(scene.ledger, found.id, "ben", "again")
    assert [each.text for each in investigations.notes(scene.ledger, found.id)] == ["the cable"]
    assert investigations.listed(scene.ledger, open_only=True) == []
    peer.silent()
    scene.later(50)
    assert len(investigations.listed(scene.ledger)) == 2


def test_a_good_bye_opens_no_investigation_and_troubles_nobody(scene: CoordinatorScene) -> None:
    tokens.create(scene.ledger, "admin", "ann")
    peer = scene.peer()
    peer.report("goodbye")
    scene.step()
    assert scene.health(peer) is Health.LEFT
    assert investigations.listed(scene.ledger) == []
    assert events.notifications(scene.ledger, "ann") == []


def test_a_silent_worker_s_queue_is_empty_when_it_is_degraded(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    scene.step()
    assert scene.stores.rq.llen(f"rq:queue:{queue(peer.id)}") == 1
    scene.leader.health.judge(BeatReading(scene.stores.live.generation(), {}))
    peer.silent()
    scene.later(36)
    assert peer.queued() == 0
    assert scene.job(job.id).state is JobState.PENDING


def test_hints_are_back_at_once_however_often_their_connection_was_lost(scene: CoordinatorScene) -> None:
    bell = Bell()
    hints = Hints(scene.stores.redis, scene.stores.keys, bell.ring)
    thread = threading.Thread(target=hints.run)
    thread.start()
    try:
        for _ in range(8):
            eventually(lambda: hints.take().everything, 1)
            scene.stores.redis.client_kill_filter(_type="pubsub", skipme=True)
    finally:
        hints.bell.stop()
        thread.join(5)
    assert not thread.is_alive()
