"""Every sentence that people read is exchanged for other words: what the pool does stays the same."""

from __future__ import annotations

import pytest

from app.ledger import attempts, investigations
from app.ledger.investigations import SuspectedCause
from app.ledger.registry import workers
from app.pool.model import AttemptEnd, Health, JobState, Requirement, WaitingFor
from app.pool.protocol import LeaseState
from app.web.shapes.job_answers import waiting_answer
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene, state_of
from tests.kit.peer import Peer
from tests.kit.sentences import OTHER_WORDS, exchange


@pytest.fixture(autouse=True)
def exchanged(database_url: str) -> None:
    exchange(database_url)


def later(scene: CoordinatorScene, seconds: int, *beating: Peer) -> None:
    """Let time pass under a leader that remembers none of its own sentences."""
    scene.new_leader()
    scene.step()
    scene.later(seconds, *beating)


def reason(scene: CoordinatorScene, peer: Peer) -> str | None:
    worker = workers.find(scene.ledger, peer.id)
    assert worker is not None
    return worker.reason


def test_a_silent_workers_job_goes_on_elsewhere_and_its_late_result_is_refused(scene: CoordinatorScene) -> None:
    victim = scene.peer()
    order = scene.running(victim)
    witness = scene.peer("render-2")
    victim.silent()
    scene.later(36, witness)
    assert (scene.health(victim), reason(scene, victim)) == (Health.DEGRADED, OTHER_WORDS)

    later(scene, 50, witness)

    assert scene.health(victim) is Health.DOWN
    again = witness.next_order()
    assert (again.job, again.attempt) == (order.job, 2)
    assert state_of(victim.lease(order.job)) is LeaseState.REVOKED
    victim.end(order)
    witness.claim(again)
    scene.step()
    witness.end(again)
    scene.step()
    assert scene.job(order.job).state is JobState.SUCCEEDED
    first, second = attempts.of_job(scene.ledger, order.job)
    assert (first.end, first.cause, first.refused) == (AttemptEnd.TAKEN_AWAY, OTHER_WORDS, 1)
    assert second.end is AttemptEnd.SUCCEEDED


def test_a_silent_worker_is_healthy_again_by_its_next_beat(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    peer.silent()
    scene.later(36)
    assert (scene.health(peer), reason(scene, peer)) == (Health.DEGRADED, OTHER_WORDS)

    later(scene, 1, peer)

    assert scene.health(peer) is Health.HEALTHY


def test_a_worker_that_does_not_take_is_healthy_again_when_it_has_taken_and_not_before(
    scene: CoordinatorScene,
) -> None:
    peer = scene.peer()
    job = submit(scene.ledger)
    scene.step()
    witness = scene.peer("render-2")
    scene.later(12, peer, witness)
    assert (scene.health(peer), reason(scene, peer)) == (Health.DEGRADED, OTHER_WORDS)

    later(scene, 5, peer, witness)

    assert scene.health(peer) is Health.DEGRADED
    stale = peer.pop()
    assert stale is not None and stale.job == job.id
    peer.claim(stale)
    scene.step()
    scene.step()
    assert scene.health(peer) is Health.HEALTHY
    assert (scene.job(job.id).worker, scene.job(job.id).attempt) == (witness.id, 2)


@pytest.mark.parametrize(
    ("error", "oom_killed", "cause"),
    [
        ("no word of it", True, SuspectedCause.OUT_OF_MEMORY),
        ("its process was killed by SIGKILL: out of memory, as the kernel says", False, SuspectedCause.HOST_SILENT),
    ],
)
def test_a_host_is_suspected_of_want_of_memory_by_what_its_agent_saw(
    scene: CoordinatorScene, error: str, oom_killed: bool, cause: SuspectedCause
) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.end(order, "failed", cause="workflow", error=error, signal=9, oom_killed=oom_killed)
    scene.step()
    peer.silent()

    scene.later(50)

    assert scene.health(peer) is Health.DOWN
    [opened] = investigations.listed(scene.ledger)
    assert opened.cause is cause
    assert attempts.of_job(scene.ledger, order.job)[0].oom_killed is oom_killed


def test_a_cause_of_a_later_release_counts_as_the_jobs_own_failure(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.end(order, "failed", cause="nobody here knows it")

    scene.step()

    job = scene.job(order.job)
    assert (job.attempt, job.failures) == (2, 1)
    assert attempts.of_job(scene.ledger, order.job)[0].end is AttemptEnd.FAILED


def test_what_a_job_waits_for_is_known_without_its_words(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.end(order, "failed", cause="workflow", error="bad frame")
    scene.step()
    scene.running(peer)
    behind = submit(scene.ledger)
    unable = submit(scene.ledger, Requirement("burn", tags=("nobody-has-it",)))
    scene.later(1, peer)

    waits = {job: scene.job(job) for job in (behind.id, unable.id)}
    assert {job.waiting for job in waits.values()} == {OTHER_WORDS}
    assert waits[behind.id].waiting_for is WaitingFor.SLOT
    assert waits[unable.id].waiting_for is WaitingFor.WORKER
    kinds = {job: (answer := waiting_answer(scene.job(job))) and answer.kind for job in (*waits, order.job)}
    assert kinds == {behind.id: "slot", unable.id: "worker", order.job: "time"}
