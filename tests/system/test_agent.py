"""The agent's main: joined to a scripted pool, with everything below it real."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.processes import carried_by
from app.pool.model import JobId, new_id
from app.pool.protocol import Lease, LeaseState, Order
from tests.kit.agent_scene import AgentScene, ended
from tests.kit.nvml import Card, Driver
from tests.kit.processes import children
from tests.kit.services import eventually


@pytest.fixture
def pool(redis_url: str, rq_url: str, tmp_path: Path) -> Iterator[AgentScene]:
    with AgentScene(redis_url, rq_url, tmp_path) as pool:
        yield pool


def test_a_job_runs_to_its_end_and_its_attempt_is_listed_until_the_lease_has_ended(pool: AgentScene) -> None:
    pool.working()
    pool.accepting = False
    job = pool.put("quick", params={"seed": 7})
    eventually(lambda: (job, 1) in pool.listed())
    pool.accepting = True
    end = pool.until("end", job)
    assert (end.end, end.result) == ("succeeded", {"seed": 7, "mark": None})
    assert pool.reports[0].kind == "claim"
    eventually(lambda: not pool.listed() and (beat := pool.beat()) and beat.free_slots == 1)


def test_a_refused_claim_starts_nothing_and_frees_the_slot(pool: AgentScene, tmp_path: Path) -> None:
    pool.working()
    job = JobId(new_id())
    pool.revoke(job, "taken back")
    pool.send(Order(job, 1, pool.worker, 1, "marks", {"mark": str(tmp_path / "mark")}))
    pool.until("end", pool.put("quick"))
    assert not (tmp_path / "mark").exists() and not pool.of("end", job)
    eventually(lambda: not pool.listed())


def test_a_second_delivery_starts_nothing(pool: AgentScene) -> None:
    pool.working(MUSTER_SLOTS="2")
    job = pool.running("polite")
    pool.send(Order(job, 1, pool.worker, 1, "polite", {}))
    after = pool.put("quick")
    pool.until("end", after)
    assert len(pool.processes(job)) == 1 and len({each.nonce for each in pool.of("claim", job)}) == 1


def test_a_cancelled_job_is_asked_first_and_what_escaped_it_is_killed(pool: AgentScene) -> None:
    pool.working()
    job = pool.running("stubborn")
    assert len(pool.processes(job)) == 2
    pool.revoke(job, "cancel", grace_s=0.3)
    assert pool.until("end", job).end == "cancelled"
    assert not pool.processes(job)
    eventually(lambda: not pool.listed())


@pytest.mark.parametrize(
    "lease", [Lease(attempt=1, state=LeaseState.REVOKED, why="taken away"), Lease(attempt=2, state=LeaseState.GIVEN)]
)
def test_an_attempt_whose_lease_is_revoked_or_higher_is_killed(pool: AgentScene, lease: Lease) -> None:
    pool.working()
    job = pool.running("stubborn")
    pool.lease(job, lease)
    eventually(lambda: not pool.processes(job), 5)
    eventually(lambda: not pool.listed())


def test_an_attempt_whose_lease_is_missing_or_lower_runs_on(pool: AgentScene) -> None:
    pool.working()
    job = pool.put("polite", attempt=2)
    pool.until("progress", job, attempt=2)
    for change in (lambda: pool.redis.delete(pool.keys.lease(pool.worker)), lambda: pool.revoke(job, "old", attempt=1)):
        change()
        pool.look_twice()
        assert pool.processes(job) and pool.listed() == {(job, 2)}


def test_tags_of_a_workflow_outlive_its_job(pool: AgentScene) -> None:
    pool.working()
    pool.until("end", pool.put("tags"))
    eventually(lambda: (beat := pool.beat()) and not beat.attempts and beat.tags == ("model:sdxl",))


def test_an_agent_that_was_replaced_kills_its_jobs_and_ends_with_an_error(pool: AgentScene) -> None:
    agent = pool.working()
    pool.running("stubborn")
    pool.redis.hset(pool.keys.worker(pool.worker), "incarnation", "2")
    pool.ring()
    code, said = ended(agent, 10)
    assert code == 1 and "incarnation 2" in said
    assert not pool.processes()


def test_a_good_bye_leaves_a_checkpoint_a_stopped_end_and_comes_last(pool: AgentScene) -> None:
    agent = pool.working()
    job = pool.running("polite")
    waiting = pool.put("quick")
    agent.terminate()
    code, said = ended(agent, 8)
    assert code == 0, said
    assert pool.queued() == 1 and not pool.of("claim", waiting)
    assert [each.kind for each in pool.reports if each.kind in ("checkpoint", "end", "goodbye")] == [
        "checkpoint",
        "end",
        "goodbye",
    ]
    assert pool.of("end", job)[0].end == "stopped"
    assert not pool.processes()


def test_a_second_signal_hurries_the_good_bye(pool: AgentScene) -> None:
    agent = pool.working(MUSTER_GRACE_S="60")
    job = pool.running("stubborn")
    agent.terminate()
    eventually(lambda: (beat := pool.beat()) and beat.leaving)
    agent.terminate()
    code, _ = ended(agent, 8)
    assert code == 0 and pool.of("end", job)[0].end == "stopped"


def test_a_worker_leaves_in_time_though_redis_does_not_answer(pool: AgentScene) -> None:
    agent = pool.working()
    pool.running("polite")
    server = pool.redis.info()["process_id"]
    os.kill(server, signal.SIGSTOP)
    try:
        agent.terminate()
        code, said = ended(agent, 8)
    finally:
        os.kill(server, signal.SIGCONT)
    assert code == 0 and "before all reports were read" in said
    assert not pool.processes()


def test_a_lost_bell_is_back_at_once_and_what_is_kept_is_sent_again(pool: AgentScene) -> None:
    pool.working()
    job = pool.running("polite")
    claims = len(pool.of("claim", job))
    assert pool.redis.client_kill_filter(_type="pubsub")
    began = time.monotonic()
    eventually(lambda: pool.ring() == 1)
    assert time.monotonic() - began < 1  # 0.1 s on a quiet host
    eventually(lambda: len(pool.of("claim", job)) > claims, 1)


def test_a_new_generation_has_everything_sent_again(pool: AgentScene) -> None:
    pool.working()
    job = pool.running("polite")
    claims = len(pool.of("claim", job))
    pool.redis.set(pool.keys.generation, "two")
    pool.ring()
    eventually(lambda: len(pool.of("claim", job)) > claims, 1)


def test_a_changed_interval_holds_from_the_next_beat(pool: AgentScene) -> None:
    pool.working()
    pool.write_wanted(replace(pool.wanted, number=2, interval_ms=700, missed_beats=3))
    pool.ring()
    beat = eventually(lambda: (beat := pool.beat()) and beat.wanted == 2 and beat, 5)
    assert beat and (beat.interval_ms, beat.ttl_ms) == (700, 2333)


def test_the_first_figures_of_a_card_are_beaten_at_once(redis_url: str, rq_url: str, tmp_path: Path) -> None:
    driver = Driver(tmp_path / "nvml")
    driver.say(Card("GPU-1", total=1000, hangs=("nvmlDeviceGetPowerUsage",)))
    with AgentScene(redis_url, rq_url, tmp_path, interval_ms=300_000) as pool:
        pool.working(**driver.environ, MUSTER_GPUS="GPU-1")
        pool.look_twice()  # from now on nothing else has it beat
        blind = pool.beat()
        assert blind and blind.gpu_reason and blind.gpus[0].memory.free is None
        driver.say(Card("GPU-1", total=1000))
        eventually(lambda: (beat := pool.beat()) and beat.gpus[0].memory.free == 1000)


def want_slots(pool: AgentScene, slots: int | None) -> None:
    """Let the agent be told, and wait until its beat says that it has so many."""
    pool.write_wanted(replace(pool.wanted, number=pool.wanted.number + 1, slots=slots))
    pool.ring()
    eventually(lambda: (beat := pool.beat()) and beat.wanted == pool.wanted.number, 5)


def test_an_agent_has_as_many_slots_as_is_wanted(pool: AgentScene) -> None:
    agent = pool.working()
    want_slots(pool, 3)
    eventually(lambda: (beat := pool.beat()) and (beat.slots, beat.free_slots) == (3, 3), 10)
    jobs = [pool.running("polite") for _ in range(3)]
    eventually(lambda: len(pool.listed()) == 3)
    want_slots(pool, 1)
    beat = pool.beat()
    assert beat and (beat.slots, beat.free_slots) == (1, 0)
    assert len(pool.listed()) == 3 and all(pool.processes(job) for job in jobs)  # what runs is finished
    for job in jobs:
        pool.revoke(job, "cancel", grace_s=5)
    eventually(lambda: len(children(agent.pid, "agent.slot.process")) == 1, 10)
    assert {pool.until("end", job).end for job in jobs} == {"cancelled"}
    pool.until("end", pool.put("quick"))
    want_slots(pool, 2)
    eventually(lambda: (beat := pool.beat()) and beat.free_slots == 2, 10)  # under the number of one that went
    want_slots(pool, None)
    eventually(lambda: (beat := pool.beat()) and (beat.slots, beat.free_slots) == (1, 1), 10)
    assert agent.poll() is None


def test_an_idle_slot_goes_before_one_that_works(pool: AgentScene) -> None:
    agent = pool.working(MUSTER_SLOTS="2")
    job = pool.running("polite")
    want_slots(pool, 1)
    eventually(lambda: len(children(agent.pid, "agent.slot.process")) == 1, 5)
    assert pool.processes(job) and pool.listed() == {(job, 1)}


def test_main_outlives_a_slot_that_was_killed_by_a_signal_without_a_name(pool: AgentScene) -> None:
    agent = pool.working()
    [slot] = children(agent.pid, "agent.slot.process")
    os.kill(slot, signal.SIGRTMIN + 6)
    eventually(lambda: children(agent.pid, "agent.slot.process") not in ([], [slot]))
    pool.until("end", pool.put("quick"))
    assert agent.poll() is None


def test_a_wanted_number_of_slots_is_known_from_the_join_on(pool: AgentScene) -> None:
    pool.write_wanted(replace(pool.wanted, slots=2))
    pool.working()
    eventually(lambda: (beat := pool.beat()) and (beat.slots, beat.free_slots) == (2, 2), 10)


def test_an_end_waits_until_redis_is_back(pool: AgentScene) -> None:
    pool.working()
    pool.accepting = False
    job = pool.put("quick")
    eventually(lambda: (job, 1) in pool.listed())
    pool.redis.client_kill_filter(skipme=True)
    pool.accepting = True
    assert pool.until("end", job).end == "succeeded"


def test_no_process_and_no_envelope_of_an_ended_attempt_is_left(pool: AgentScene) -> None:
    agent = pool.working()
    pool.until("end", pool.put("quick"))
    eventually(lambda: not pool.listed())
    agent.terminate()
    ended(agent)
    assert not carried_by(worker=pool.worker)
    assert not pool.redis.exists(pool.keys.out(pool.worker)) or not pool.redis.xlen(pool.keys.out(pool.worker))
    assert pool.queued() == 0
