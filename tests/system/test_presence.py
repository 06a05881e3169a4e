"""Fast failover: a lost subscription, and what a call to the worker's address proves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from agent.beat.bell import BellListener
from agent.join.address import Address
from app.ledger import events, investigations, jobs, policy, tokens
from app.pool.agent_http import WhoIs
from app.pool.model import Health, JobState
from app.pool.protocol import LeaseState, Order
from tests.kit.actors import submit
from tests.kit.coordinator_scene import BOOT_ID, CoordinatorScene, state_of
from tests.kit.peer import Peer
from tests.kit.services import eventually


class Present:
    """A peer that listens: on its bell, and on an address of its own."""

    def __init__(self, scene: CoordinatorScene, answers: bool = True) -> None:
        self.address = Address("127.0.0.1", 0)
        threading.Thread(target=self.address.run, daemon=True).start()
        self.peer = Peer(scene.stores, scene.ledger, port=self.address.port)
        self._scene = scene
        if answers:
            self.introduce(self.peer.worker.incarnation)
        self.bell = scene.stores.redis.pubsub()
        self.listen()
        self.peer.beat()
        scene.step()
        scene.leader.ask_presence()
        if answers:
            eventually(lambda: scene.leader.presence.reached(self.peer.worker))

    def introduce(self, incarnation: int) -> None:
        """Answer callers so."""
        self.address.introduce(WhoIs(self.peer.id, incarnation, BOOT_ID, "host", "render-1", "1"))

    def listen(self) -> None:
        self.bell.subscribe(self._scene.stores.keys.bell_of(self.peer.id))
        assert self.bell.get_message(timeout=5)

    def hang_up(self) -> None:
        """The subscription is gone, and the leader asks."""
        self.bell.close()
        name = self._scene.stores.keys.bell_of(self.peer.id)
        eventually(lambda: dict(self._scene.stores.redis.pubsub_numsub(name))[name] == 0)
        self._scene.leader.ask_presence()

    def die(self) -> None:
        """Its process is gone, its host is not."""
        self.address._server.shutdown()
        self.address._server.server_close()
        self.hang_up()


def becomes(scene: CoordinatorScene, peer: Peer, health: Health) -> bool:
    scene.step()
    return scene.health(peer) is health


def is_suspected(scene: CoordinatorScene) -> bool:
    scene.step()
    return scene.leader.undecided


def stays(scene: CoordinatorScene, peer: Peer, seconds: int = 3) -> bool:
    """Healthy, though the leader has had the time to call and to wait for a newer beat."""
    called = scene.leader.presence._calls._callers
    called.submit(lambda: None).result()
    for _ in range(seconds):
        scene.time += 1
        scene.step()
    return scene.health(peer) is Health.HEALTHY


def test_a_dead_worker_is_down_at_once_and_its_jobs_go_on_elsewhere(scene: CoordinatorScene) -> None:
    tokens.create(scene.ledger, "admin", "boss")
    present = Present(scene)
    order = scene.running(present.peer)
    witness = scene.peer("render-2")
    present.die()
    eventually(lambda: becomes(scene, present.peer, Health.DOWN))
    again = witness.next_order()
    assert (again.job, again.attempt) == (order.job, 2)
    witness.claim(again)
    scene.step()
    (found,) = investigations.listed(scene.ledger, open_only=True)
    assert (found.worker, found.cause) == (present.peer.id, "process killed")
    (move,) = investigations.moves(scene.ledger, found.id)
    assert (move.job, move.to_worker) == (order.job, witness.id)
    assert move.seconds is not None
    assert [each.kind for each in events.notifications(scene.ledger, "boss")] == ["worker.down"]


def test_a_beat_that_was_under_way_does_not_revive_the_dead(scene: CoordinatorScene) -> None:
    present = Present(scene)
    present.peer.beat()
    present.die()
    eventually(lambda: becomes(scene, present.peer, Health.DOWN))
    present.peer.beat()
    scene.step()
    assert scene.health(present.peer) is Health.DOWN
    scene.time += 2
    present.peer.beat()
    scene.step()
    assert scene.health(present.peer) is Health.HEALTHY


def strict_on_a_dead_worker(scene: CoordinatorScene) -> tuple[Present, Peer, Order]:
    present = Present(scene)
    order = scene.running(present.peer, strict=True)
    witness = scene.peer("render-2")
    present.die()
    eventually(lambda: becomes(scene, present.peer, Health.DOWN))
    return present, witness, order


def test_a_refused_call_is_no_proof_for_a_strict_job(scene: CoordinatorScene) -> None:
    present, witness, order = strict_on_a_dead_worker(scene)
    assert scene.job(order.job).state is JobState.RUNNING
    assert state_of(present.peer.lease(order.job)) is LeaseState.REVOKED
    present.peer.silent()
    scene.later(43, witness)
    assert scene.job(order.job).state is JobState.RUNNING
    scene.later(4, witness)
    assert scene.job(order.job).attempt == 2


def test_a_cancelled_strict_job_on_a_dead_worker_ends_when_its_deadline_has(scene: CoordinatorScene) -> None:
    present = Present(scene)
    order = scene.running(present.peer, strict=True)
    jobs.cancel(scene.ledger, order.job)
    present.die()
    eventually(lambda: becomes(scene, present.peer, Health.DOWN))
    present.peer.silent()
    scene.later(43)
    assert not scene.job(order.job).attempt_ended
    scene.later(4)
    assert scene.job(order.job).attempt_ended


def test_a_strict_job_goes_on_as_soon_as_its_worker_has_joined_anew(scene: CoordinatorScene) -> None:
    _, _, order = strict_on_a_dead_worker(scene)
    Peer(scene.stores, scene.ledger)
    scene.step()
    assert scene.job(order.job).attempt == 2


def test_what_no_other_can_run_leaves_a_worker_that_is_proven_dead(scene: CoordinatorScene) -> None:
    present = Present(scene)
    order = scene.running(present.peer)
    present.die()
    eventually(lambda: becomes(scene, present.peer, Health.DOWN))
    assert scene.job(order.job).state is JobState.PENDING


def test_silence_on_the_line_waits_for_a_newer_beat(scene: CoordinatorScene) -> None:
    present = Present(scene, answers=False)
    present.hang_up()
    scene.leader.presence._calls._callers.submit(lambda: None).result()
    eventually(lambda: is_suspected(scene))
    scene.time += 1
    scene.step()
    assert scene.health(present.peer) is Health.HEALTHY
    scene.time += 1
    scene.step()
    assert scene.health(present.peer) is Health.DOWN


def test_a_newer_beat_or_a_new_subscription_clears_it(scene: CoordinatorScene) -> None:
    present = Present(scene, answers=False)
    present.hang_up()
    eventually(lambda: is_suspected(scene))
    present.peer.beat()
    assert stays(scene, present.peer)
    present.listen()
    scene.leader.ask_presence()
    present.hang_up()
    eventually(lambda: is_suspected(scene))
    present.listen()
    scene.leader.ask_presence()
    assert stays(scene, present.peer)


def test_a_refusal_on_loopback_proves_nothing_of_another_host(scene: CoordinatorScene) -> None:
    present = Present(scene)
    scene.leader.presence._calls._boot_id = "boot-2"  # the leader's host is another
    present.die()
    eventually(lambda: is_suspected(scene))
    assert scene.health(present.peer) is Health.HEALTHY


def test_a_refusal_where_it_never_answered_proves_nothing(scene: CoordinatorScene) -> None:
    present = Present(scene, answers=False)
    present.die()
    eventually(lambda: is_suspected(scene))
    assert scene.health(present.peer) is Health.HEALTHY


def test_who_answers_for_itself_has_only_lost_a_connection(scene: CoordinatorScene) -> None:
    present = Present(scene)
    present.hang_up()
    assert stays(scene, present.peer)


def test_another_incarnation_on_its_address_proves_its_death(scene: CoordinatorScene) -> None:
    present = Present(scene)
    present.introduce(present.peer.worker.incarnation + 1)
    present.hang_up()
    eventually(lambda: becomes(scene, present.peer, Health.DOWN))


def test_a_leader_that_begins_finds_another_incarnation_on_the_address(scene: CoordinatorScene) -> None:
    present = Present(scene)
    present.introduce(present.peer.worker.incarnation + 1)
    present.hang_up()
    scene.new_leader()
    scene.step()
    scene.leader.ask_presence()
    eventually(lambda: becomes(scene, present.peer, Health.DOWN))


def test_switched_off_silence_alone_decides(scene: CoordinatorScene) -> None:
    policy.write(scene.ledger, {"fast_failover": False}, "test")
    present = Present(scene)
    present.die()
    assert stays(scene, present.peer)


@contextmanager
def ear(scene: CoordinatorScene, present: Present, url: str) -> Iterator[threading.Event]:
    """The agent's own ear on the peer's bell."""
    present.bell.close()
    subscribed = threading.Event()
    bell = scene.stores.keys.bell_of(present.peer.id)
    threading.Thread(target=BellListener(url, bell, lambda _: None, subscribed.set).run, daemon=True).start()
    assert subscribed.wait(5)
    yield subscribed


def test_the_server_is_told_to_drop_dead_connections_soon(scene: CoordinatorScene) -> None:
    scene.stores.redis.config_set("tcp-keepalive", 300)
    submit(scene.ledger)
    Present(scene)
    assert scene.stores.live.keepalive_problem() is None
