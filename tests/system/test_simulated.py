"""A worker of bench/kit/simulated.py before a real leader: a wrong dialogue would look like a slow pool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.ledger import attempts, jobs, policy
from app.ledger.registry import workers
from app.pool.model import Health, JobId, JobState, Requirement
from app.pool.protocol import LeaseState
from bench.kit.sim import AS_AGENTS, QUIET, WORK, Simulation, Spec, sharing_of, simulated
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene
from tests.kit.services import eventually

LONG_S = 600.0


@pytest.fixture
def worker(scene: CoordinatorScene, redis_server: str) -> Iterator[Simulation]:
    """One with one slot, which beats each second."""
    policy.write(scene.ledger, {"heartbeat_interval_s": 1.0}, "ana")
    with simulated(scene.ledger, redis_server, [Spec("sim-1")], interval_s=1.0, connections=AS_AGENTS) as simulation:
        scene.step()
        yield simulation


def work(scene: CoordinatorScene, seconds: float) -> JobId:
    return submit(scene.ledger, Requirement(WORK.name), params={"seconds": seconds}).id


def until(scene: CoordinatorScene, job: JobId, state: JobState) -> None:
    """The leader goes on until the job is so."""

    def reached() -> bool:
        scene.step()
        return scene.job(job).state is state

    eventually(reached)


def test_it_claims_what_it_is_given_and_reports_the_end(scene: CoordinatorScene, worker: Simulation) -> None:
    job = work(scene, 0.3)
    until(scene, job, JobState.SUCCEEDED)
    [attempt] = attempts.of_job(scene.ledger, job)
    assert attempt.worker == worker.workers[0].id
    assert attempt.started_at
    assert attempt.ended_at
    assert (attempt.ended_at - attempt.started_at).total_seconds() >= 0.3


def test_its_slot_takes_one_job_after_the_other(scene: CoordinatorScene, worker: Simulation) -> None:
    first, second = work(scene, 0.2), work(scene, 0.0)
    until(scene, second, JobState.SUCCEEDED)
    [before], [after] = attempts.of_job(scene.ledger, first), attempts.of_job(scene.ledger, second)
    assert before.ended_at
    assert after.started_at
    assert before.ended_at <= after.started_at


def test_a_job_that_is_cancelled_ends_and_its_slot_is_free(scene: CoordinatorScene, worker: Simulation) -> None:
    job = work(scene, LONG_S)
    until(scene, job, JobState.RUNNING)
    assert held(scene, worker) == [LeaseState.CLAIMED]
    assert jobs.cancel(scene.ledger, job)
    until(scene, job, JobState.CANCELLED)
    until(scene, work(scene, 0.0), JobState.SUCCEEDED)


def test_one_that_has_fallen_silent_reports_no_end(scene: CoordinatorScene, worker: Simulation) -> None:
    job = work(scene, 0.5)
    until(scene, job, JobState.RUNNING)
    worker.fall_silent(worker.workers[0].id)
    eventually(lambda: not scene.stores.live.beats([worker.workers[0].id]))
    scene.step()
    assert scene.job(job).state is JobState.RUNNING


def test_quiet_ones_beat_each_through_a_connection_of_its_own(scene: CoordinatorScene, redis_server: str) -> None:
    before = scene.stores.redis.info("clients")["connected_clients"]
    wanted = [Spec(f"sim-{number}") for number in range(3)]
    with simulated(scene.ledger, redis_server, wanted, connections=QUIET):
        scene.step()
        assert [each.health for each in workers.listed(scene.ledger)] == [Health.HEALTHY] * len(wanted)
        opened = scene.stores.redis.info("clients")["connected_clients"] - before
        assert opened >= 2 * len(wanted)  # a bell and a connection for beats


def test_only_of_thousands_some_share_a_connection() -> None:
    assert [sharing_of(quiet) for quiet in (1, 1_000, 9_000, 10_000)] == [1, 1, 1, 2]


def held(scene: CoordinatorScene, worker: Simulation) -> list[LeaseState]:
    """The states of its leases."""
    return [lease.state for lease in scene.stores.live.leases(worker.workers[0].id).values()]
