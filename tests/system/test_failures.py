"""What counts as whose failure; strict jobs; what is lost, told and left over when a job moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from app.coordinator.health.calls import LossKind
from app.coordinator.health.presence import Loss
from app.coordinator.hints import Hint
from app.coordinator.upkeep.output_gc import OutputGc
from app.ledger import attempts, events, investigations, jobs, open_attempts, policy
from app.ledger.registry import workers
from app.pool.errors import Unavailable
from app.pool.model import AttemptEnd, Health, JobState
from app.pool.protocol import LeaseState, Order
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene, state_of
from tests.kit.peer import Peer


def alter(scene: CoordinatorScene, statement: str) -> None:
    """Change the ledger behind everybody's back."""
    with scene.ledger.transaction() as tx:
        assert tx._connection is not None
        tx._connection.execute(statement.encode())


def dies(scene: CoordinatorScene, peer: Peer, *others: Peer) -> None:
    peer.silent()
    scene.later(50, *others)


def taken_by(scene: CoordinatorScene, peer: Peer) -> Order:
    order = peer.next_order()
    peer.claim(order)
    scene.step()
    return order


def test_what_runs_two_minutes_beyond_its_time_is_taken_away_as_a_failure(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer, timeout_s=60)
    alter(scene, "UPDATE attempts SET started_at = now() - interval '175 s'")
    scene.step()
    assert scene.job(order.job).state is JobState.RUNNING
    alter(scene, "UPDATE attempts SET started_at = now() - interval '181 s'")
    scene.step()
    job = scene.job(order.job)
    assert (job.attempt, job.failures) == (2, 1)
    assert state_of(peer.lease(order.job)) is LeaseState.REVOKED
    (attempt, *_) = attempts.of_job(scene.ledger, order.job)
    assert (attempt.end, attempt.cause) == (AttemptEnd.FAILED, "timeout")


def test_the_time_in_which_a_worker_says_that_it_saved_files_is_not_counted(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer, timeout_s=60)
    alter(scene, "UPDATE attempts SET started_at = now() - interval '3775 s'")
    peer.saved_s = 3600
    peer.beat()
    scene.step()
    assert scene.job(order.job).state is JobState.RUNNING
    alter(scene, "UPDATE attempts SET started_at = now() - interval '3781 s'")
    scene.step()
    assert (scene.job(order.job).attempt, scene.job(order.job).failures) == (2, 1)


def test_a_job_without_limits_takes_the_pool_s_and_its_own_goes_first(scene: CoordinatorScene) -> None:
    policy.write(scene.ledger, {"timeout_s": 300, "stall_s": 30, "strict": True, "log_limit_mib": 7}, "test")
    peer = scene.peer()
    order = scene.running(peer, stall_s=5)
    assert (order.timeout_s, order.stall_s, order.strict, order.log_limit_mib) == (300, 5, True, 7)
    (held,) = open_attempts.held(scene.ledger)
    assert (held.timeout_s, held.strict) == (300, True)


def test_a_strict_job_is_only_revoked_by_a_take_away_and_pending_when_its_end_is_known(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer, strict=True, timeout_s=60)
    alter(scene, "UPDATE attempts SET started_at = now() - interval '1 h'")
    scene.step()
    assert scene.job(order.job).state is JobState.RUNNING
    assert state_of(peer.lease(order.job)) is LeaseState.REVOKED
    peer.end(order, "stopped", cause="agent")
    scene.step()
    assert (scene.job(order.job).attempt, scene.job(order.job).failures) == (2, 0)


def test_the_repetition_of_a_cancelled_strict_job_waits_until_no_process_is_left(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer, strict=True)
    scene.peer("render-2")
    jobs.cancel(scene.ledger, order.job)
    again = submit(scene.ledger, strict=True, retry_of=order.job)
    scene.leader.step(Hint(jobs=True, cancelled={order.job}))
    scene.step()
    assert scene.job(again.id).state is JobState.PENDING
    assert "no process left" in (scene.job(again.id).waiting or "")
    peer.end(order, "cancelled", cause="cancel")
    scene.step()
    scene.step()
    assert scene.job(again.id).state is JobState.ASSIGNED


@pytest.mark.parametrize("cause", ["slot", "deadline", "agent"])
def test_what_ends_by_its_worker_is_no_failure_of_the_job(scene: CoordinatorScene, cause: str) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.end(order, "failed", cause=cause)
    scene.step()
    assert (scene.job(order.job).attempt, scene.job(order.job).failures) == (2, 0)


def test_an_error_waits_before_it_is_tried_again_and_a_death_does_not(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.end(order, "failed", cause="workflow", error="no such frame")
    scene.step()
    assert scene.job(order.job).not_before is not None
    assert scene.job(order.job).state is JobState.PENDING


def test_lost_steps_are_told_where_checkpoints_say_them(scene: CoordinatorScene) -> None:
    victim = scene.peer()
    order = scene.running(victim)
    victim.report("checkpoint", order, number=1, state={"step": 30, "steps": 100}, fraction=0.3)
    victim.report("progress", order, number=1, fraction=0.45)
    scene.step()
    witness = scene.peer("render-2")
    dies(scene, victim, witness)
    assert taken_by(scene, witness).attempt == 2
    scene.step()
    (first, second) = attempts.of_job(scene.ledger, order.job)
    assert first.lost_steps == 15
    assert second.resumed_from is not None
    assert (second.resumed_from["number"], second.resumed_from["step"]) == (1, 30)
    (told,) = events.notifications(scene.ledger, "ana")
    assert "15 steps" in told.sentence
    (found,) = investigations.listed(scene.ledger)
    (move,) = investigations.moves(scene.ledger, found.id)
    assert (move.lost_steps, move.to_name) == (15, "render-2")


def test_a_job_s_own_resume_is_handed_to_the_first_attempt(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer, resume={"frame": 7})
    assert order.resume is not None
    assert (order.resume.number, order.resume.state, order.resume.files) == (0, {"frame": 7}, ())


def test_a_refused_second_delivery_leaves_the_lease_to_the_first(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.report("claim", order, nonce="n2")
    scene.step()
    lease = peer.lease(order.job)
    assert lease is not None
    assert (lease.state, lease.nonce) == (LeaseState.CLAIMED, "n1")


def test_a_lease_of_an_older_incarnation_keeps_no_job_waiting(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    open_attempts.take_away(scene.ledger, order.job, 1, "the pool stopped before the lease was marked")
    scene.new_leader()
    again = Peer(scene.stores, scene.ledger)
    again.beat()
    scene.step()
    assert again.next_order().attempt == 2


def test_a_worker_that_died_and_joined_before_anybody_saw_it_silent_is_looked_into(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    again = Peer(scene.stores, scene.ledger)
    again.beat()
    scene.leader.step(Hint(beats=True))  # the bell of its join was lost
    assert again.next_order().attempt == 2
    (found,) = investigations.listed(scene.ledger)
    assert found.cause == "process killed"
    assert [move.job for move in investigations.moves(scene.ledger, found.id)] == [order.job]


def made(output: Path, job: str, attempt: int) -> Path:
    folder = output / job / f"a{attempt}"
    (folder / ".checkpoints" / "1").mkdir(parents=True)
    (folder / ".checkpoints" / "1" / "state").write_text("x")
    (folder / "out.txt").write_text("y")
    return folder


def test_files_that_nobody_needs_go_when_the_job_has_ended_and_its_output_stays(
    scene: CoordinatorScene, tmp_path: Path
) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    tidy = OutputGc(scene.ledger, tmp_path)
    first, second = made(tmp_path, order.job, 1), made(tmp_path, order.job, 2)
    peer.end(order, "failed", cause="guard")
    scene.step()
    tidy.step()
    assert first.exists()
    again = taken_by(scene, peer)
    peer.end(again)
    scene.step()
    assert scene.job(order.job).state is JobState.SUCCEEDED
    tidy.step()
    tidy.step()
    assert not first.exists()
    assert [path.name for path in second.iterdir()] == ["out.txt"]


def test_files_of_an_attempt_that_may_run_on_stay_and_no_link_is_followed(
    scene: CoordinatorScene, tmp_path: Path
) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    witness = scene.peer("render-2")
    dies(scene, peer, witness)
    again = taken_by(scene, witness)
    witness.end(again)
    scene.step()
    output, elsewhere = tmp_path / "output", tmp_path / "elsewhere"
    made(elsewhere, "", 2)
    first = made(output, order.job, 1)
    (output / order.job / "a2").symlink_to(elsewhere / "a2")
    tidy = OutputGc(scene.ledger, output)
    tidy.step()
    assert first.exists()
    alter(scene, "UPDATE jobs SET ended_at = now() - interval '1 h'")
    tidy.step()
    assert not first.exists()
    assert (elsewhere / "a2" / ".checkpoints").exists()


def test_a_policy_is_changed_only_by_who_has_seen_it(scene: CoordinatorScene) -> None:
    seen = policy.version(policy.read(scene.ledger))
    assert policy.write(scene.ledger, {"stall_s": 60}, "ann", known=seen) is not None
    assert policy.write(scene.ledger, {"stall_s": None}, "ben", known=seen) is None
    assert policy.read(scene.ledger) == replace(policy.read(scene.ledger), stall_s=60)


def test_a_worker_whose_slot_died_is_given_nothing_until_it_says_that_one_has_started(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    peer.end(order, "stopped", cause="slot", signal=9)
    scene.leader.step(Hint(reports={peer.id}))
    assert scene.job(order.job).state is JobState.PENDING  # though the newest beat has a slot for it
    peer.slots = 0
    peer.beat()
    scene.leader.step(Hint(beats=True))
    assert scene.job(order.job).state is JobState.PENDING
    peer.slots = 1
    peer.beat()
    scene.leader.step(Hint(beats=True))
    assert scene.job(order.job).worker == peer.id


def test_a_job_whose_slot_died_goes_on_at_once_where_one_is_free(scene: CoordinatorScene) -> None:
    peer = scene.peer("render-1")
    order = scene.running(peer)
    other = scene.wide(2, "render-2")
    scene.running(other)  # so that the first one would be less loaded
    peer.end(order, "stopped", cause="slot", signal=9)
    scene.leader.step(Hint(reports={peer.id}))
    assert (scene.job(order.job).worker, scene.job(order.job).attempt) == (other.id, 2)


def test_a_death_is_not_forgotten_when_a_store_fails_just_then(
    scene: CoordinatorScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = scene.peer()
    order = scene.running(peer)
    told = [[Loss(peer.id, 1, LossKind.DEAD, "its process is gone", scene.time)]]
    monkeypatch.setattr(scene.leader.presence, "losses", lambda: told.pop() if told else [])
    for store in ("redis", "ledger"):
        with monkeypatch.context() as away:
            if store == "redis":
                away.setattr(scene.stores.redis, "xread", failing(redis.ConnectionError("away")))
            else:
                away.setattr(workers, "set_health", failing(Unavailable("away")))
            with pytest.raises((redis.ConnectionError, Unavailable)):
                scene.step()
        assert scene.health(peer) is Health.HEALTHY
    scene.step()
    assert scene.health(peer) is Health.DOWN
    assert scene.job(order.job).state is JobState.PENDING


def failing(error: Exception) -> Callable[..., None]:
    """Instead of a call."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
