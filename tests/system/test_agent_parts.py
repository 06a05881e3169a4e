"""Each part of an agent killed or frozen, in a scripted pool: nothing survives, and the word that goes out is true."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.agent_scene import AgentScene, ended
from tests.kit.processes import alive, children, kill_together
from tests.kit.services import eventually


@pytest.fixture
def pool(redis_url: str, rq_url: str, tmp_path: Path) -> Iterator[AgentScene]:
    with AgentScene(redis_url, rq_url, tmp_path) as pool:
        yield pool


@contextmanager
def standing_still(pids: list[int]) -> Iterator[None]:
    """These processes, for a while; those that die of it may."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def frozen(pool: AgentScene, main: int, number: signal.Signals) -> None:
    """Send the signal to the whole agent with all that it runs."""
    for pid in [main, *children(main, "agent.beat.process"), *pool.processes()]:
        os.kill(pid, number)


def test_a_killed_guard_is_reported_within_a_second_with_its_signal(pool: AgentScene) -> None:
    pool.working()
    job = pool.running("stubborn")
    os.kill(pool.guard_of(job), signal.SIGKILL)
    end = pool.until("end", job, 3)
    assert (end.end, end.cause, end.signal) == ("failed", "guard", signal.SIGKILL)
    assert "SIGKILL" in (end.error or "")
    assert not pool.processes(job)
    pool.until("end", pool.put("quick"))


def test_a_frozen_guard_is_killed_with_all_that_is_its_attempts(pool: AgentScene) -> None:
    pool.working()
    job = pool.running("stubborn")
    os.kill(pool.guard_of(job), signal.SIGSTOP)
    end = pool.until("end", job, 8)
    assert (end.end, end.cause) == ("failed", "guard")
    assert not pool.processes(job)


def test_a_frozen_guard_whose_time_is_over_is_killed_before_its_silence_tells(pool: AgentScene) -> None:
    pool.working()
    job = pool.running("stubborn", timeout_s=1)
    os.kill(pool.guard_of(job), signal.SIGSTOP)
    end = pool.until("end", job, 8)
    assert (end.end, end.cause) == ("failed", "timeout")
    assert not pool.processes(job)


def test_saving_outputs_counts_for_no_limit_of_guard_or_main_and_the_beat_tells_of_it(pool: AgentScene) -> None:
    pool.working()
    job = pool.running("saver", timeout_s=3, stall_s=3)
    eventually(lambda: (beat := pool.beat()) is not None and any(ref.saved_s >= 6 for ref in beat.attempts), 30)
    assert not pool.of("end", job)
    os.truncate(pool.folder / "output" / job / "a1/big", 10)
    end = pool.until("end", job, 20)
    assert (end.end, [fact.name for fact in end.files]) == ("succeeded", ["big"])
    assert any(report.text.startswith("saving 0 of 1 (") for report in pool.of("progress", job))


def test_a_frozen_guard_of_a_strict_job_is_killed_at_the_deadline(redis_url: str, rq_url: str, tmp_path: Path) -> None:
    with AgentScene(redis_url, rq_url, tmp_path, interval_ms=600) as pool:
        pool.working()
        job = pool.running("stubborn", strict=True)
        with standing_still([pool.guard_of(job), pool.redis.info()["process_id"]]):
            eventually(lambda: not pool.processes(job), 2.5)  # 1.2 s; without the deadline 3.2
        assert pool.until("end", job).cause == "deadline"
        pool.until("end", pool.put("quick"))


def test_jobs_end_in_time_while_main_stands_still_and_it_goes_on_afterwards(
    redis_url: str, rq_url: str, tmp_path: Path
) -> None:
    with AgentScene(redis_url, rq_url, tmp_path, interval_ms=600) as pool:
        agent = pool.working()
        job = pool.running("stubborn", strict=True)
        with standing_still([agent.pid]):
            eventually(lambda: not pool.processes(job), 5)
        assert pool.until("end", job).cause == "deadline"
        pool.until("end", pool.put("quick"))


def test_a_changed_limit_of_orphans_holds_for_what_runs(redis_url: str, rq_url: str, tmp_path: Path) -> None:
    with AgentScene(redis_url, rq_url, tmp_path, interval_ms=600) as pool:
        pool.working()
        job = pool.running("polite")
        pool.write_wanted(replace(pool.wanted, number=2, max_orphan_s=1))
        pool.ring()
        eventually(lambda: (beat := pool.beat()) and beat.wanted == 2)
        with standing_still([pool.redis.info()["process_id"]]):
            eventually(lambda: not pool.processes(job), 8)
        end = pool.until("end", job)
        assert (end.end, end.cause) == ("stopped", "deadline")


def test_a_slot_that_dies_with_an_envelope_in_its_hands_leaves_it_to_the_coordinator(pool: AgentScene) -> None:
    pool.working(MUSTER_FAULT="slot.popped:1=exit")
    lost = pool.put("quick")
    eventually(lambda: not pool.queued())
    pool.until("end", pool.put("quick"))  # the same slot's next process does not touch the other's
    assert not pool.of("claim", lost) and pool.popped() == 1


def test_a_killed_slot_is_not_the_jobs_failure_and_is_started_again(pool: AgentScene) -> None:
    agent = pool.working()
    for _ in range(3):
        job = pool.running("stubborn")
        os.kill(children(agent.pid, "agent.slot.process")[0], signal.SIGKILL)
        end = pool.until("end", job, 8)
        assert (end.end, end.cause, end.signal) == ("stopped", "slot", signal.SIGKILL), end
        assert "slot process died, killed by SIGKILL" in (end.error or "")
        assert not pool.processes(job)
    pool.until("end", pool.put("quick"))


def test_a_guard_that_took_its_dying_slot_for_a_signal_is_not_believed(pool: AgentScene) -> None:
    agent = pool.working()
    job = pool.running("stubborn")
    slot, guard = children(agent.pid, "agent.slot.process")[0], pool.guard_of(job)
    with standing_still([agent.pid, slot]):
        os.kill(guard, signal.SIGTERM)
        eventually(lambda: not alive(guard))
        os.kill(slot, signal.SIGKILL)
    end = pool.until("end", job, 8)
    assert (end.end, end.cause) == ("stopped", "slot")


def test_slot_and_guard_killed_in_one_blow_leave_nothing(pool: AgentScene) -> None:
    agent = pool.working()
    job = pool.running("stubborn")
    kill_together([children(agent.pid, "agent.slot.process")[0], pool.guard_of(job)])
    end = pool.until("end", job, 8)
    assert (end.end, end.cause) == ("stopped", "slot")  # not the job's failure
    assert not pool.processes(job)


def test_a_forked_escapee_does_not_outlive_slot_and_guard_killed_in_one_blow(pool: AgentScene) -> None:
    agent = pool.working()
    job = pool.running("stubborn", params={"mark": "fork"})
    escapee = int(pool.until("progress", job).text)
    kill_together([children(agent.pid, "agent.slot.process")[0], pool.guard_of(job)])
    pool.until("end", job, 8)
    assert not alive(escapee) and not pool.processes(job)


def test_nothing_survives_a_killed_main_for_longer_than_a_second(pool: AgentScene) -> None:
    agent = pool.working()
    pool.running("stubborn")
    below = [*children(agent.pid, "agent.beat.process"), *pool.processes()]
    assert len(below) == 5  # beat, slot, guard, workflow and what escaped it
    agent.kill()
    eventually(lambda: not any(alive(pid) for pid in below), 1)


def test_main_slot_and_guard_killed_in_one_blow_the_next_start_ends_the_rest_before_it_joins(
    pool: AgentScene,
) -> None:
    agent = pool.working()
    job = pool.running("stubborn")
    kill_together([agent.pid, children(agent.pid, "agent.slot.process")[0], pool.guard_of(job)])
    assert eventually(lambda: len(pool.processes(job)) == 1)
    escapee = pool.processes(job)
    offers = len(pool.offers)
    pool.start()
    eventually(lambda: len(pool.offers) > offers)
    assert not any(alive(pid) for pid in escapee)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_main_without_its_beat_kills_all_jobs_and_ends_with_an_error(
    redis_url: str, rq_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    with AgentScene(redis_url, rq_url, tmp_path, interval_ms=1000) as pool:
        agent = pool.working()
        pool.running("stubborn")
        os.kill(children(agent.pid, "agent.beat.process")[0], number)
        code, said = ended(agent, 10)
        assert code == 1 and "the beat process" in said
        assert not pool.processes()


def test_a_frozen_agent_that_was_replaced_does_not_hide_the_new_ones_beat(
    redis_url: str, rq_url: str, tmp_path: Path
) -> None:
    with AgentScene(redis_url, rq_url, tmp_path, interval_ms=600) as pool:
        agent = pool.working()
        pool.running("stubborn")
        frozen(pool, agent.pid, signal.SIGSTOP)
        eventually(lambda: not pool.beat(), 5)
        pool.redis.hset(pool.keys.worker(pool.worker), "incarnation", "2")
        frozen(pool, agent.pid, signal.SIGCONT)
        code, said = ended(agent, 10)
        assert code == 1 and "incarnation 2" in said
        assert not pool.processes() and not pool.redis.exists(pool.keys.beat(pool.worker))


def test_a_frozen_agent_that_was_given_up_kills_what_ran_and_works_on(
    redis_url: str, rq_url: str, tmp_path: Path
) -> None:
    with AgentScene(redis_url, rq_url, tmp_path, interval_ms=600) as pool:
        agent = pool.working()
        job = pool.running("stubborn")
        frozen(pool, agent.pid, signal.SIGSTOP)
        eventually(lambda: not pool.beat(), 5)
        pool.revoke(job, "taken away")
        frozen(pool, agent.pid, signal.SIGCONT)
        eventually(lambda: not pool.processes(job), 5)
        pool.until("end", pool.put("quick"))
        assert agent.poll() is None


@pytest.mark.parametrize("escape", ["bare", "fork"])
def test_an_escapee_that_names_no_attempt_does_not_outlive_its_killed_guard(pool: AgentScene, escape: str) -> None:
    pool.working()
    job = pool.running("stubborn", params={"mark": escape})
    escapee = int(pool.until("progress", job).text)
    os.kill(pool.guard_of(job), signal.SIGKILL)
    pool.until("end", job)
    assert not alive(escapee)
