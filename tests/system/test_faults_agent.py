"""Faults of an agent's processes in a real pool at an interval of a second: no job is lost, none done twice.

What they share is started once; where faults do not touch each other they come at the same time.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.processes import boottime_ns
from app.pool.model import ENDED
from tests.kit import history
from tests.kit.agents import Agent
from tests.kit.clock import WallClock
from tests.kit.pool_with_agents import BUSY_S, DOWN_S, INTERVAL_S, TTL_S, PoolWithAgents
from tests.kit.processes import kill_together, of_job, send
from tests.kit.services import eventually

pytestmark = pytest.mark.timeout(180)
STEP_S = 0.1  # of the jobs
ALONE_S = 1.0  # for so long at most a job outlives its agent's main


def now_s() -> float:
    return boottime_ns() / history.S


def last_s(site: PoolWithAgents, job: str, attempt: int = 1) -> float:
    """When the last step of this attempt began or ended (CLOCK_BOOTTIME)."""
    return history.attempts(site.moments(job))[attempt][-1].at / history.S


def began_s(site: PoolWithAgents, job: str, attempt: int) -> float:
    """When this attempt took its first step, waited for."""
    return site.began(job, attempt).at / history.S


def gone(job: str, attempt: int = 1) -> Callable[[], bool]:
    return lambda: not of_job(job, attempt)


def went_on(site: PoolWithAgents, job: str, unheard: bool = False, lost_s: float = 0.0) -> dict[str, Any]:
    """It is finished and has succeeded; each attempt began where the last one's newest checkpoint says.

    `unheard`: an attempt went on when nobody could hear of it, perhaps beside the next one; `lost_s`: for so long,
    and not beside the next one.
    """
    done = site.finish(job)
    assert done["state"] == "succeeded", done
    steps = history.attempts(site.moments(job))
    assert len(steps) == done["attempt"]
    for old, new in pairwise(sorted(steps)):
        finished = max(each.step for each in steps[old] if each.what == "end")
        # The checkpoint follows a step within moments: at most one is repeated.
        lost = round(lost_s / STEP_S)
        assert unheard or steps[new][0].step >= finished - lost, (old, new)
    assert unheard or not history.overlap_s(site.moments(job))
    return done


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path


def stop(part: str, number: signal.Signals = signal.SIGSTOP) -> Callable[[Agent], None]:
    return lambda agent: send(number, agent.parts(part))


def test_each_part_that_dies_is_noticed_within_a_second_and_its_job_goes_on(site: PoolWithAgents) -> None:
    site.crew(1)
    job, agent = site.running(strict=True, max_failures=50, params={"escapes": True})
    for attempt, part in enumerate(("guard", "workflow", "slot"), 1):
        before_s = last_s(site, job, attempt)
        send(signal.SIGKILL, agent.parts(part))
        assert began_s(site, job, attempt + 1) - before_s < 1 + BUSY_S
        ended = site.attempts(job)[attempt - 1]
        assert (ended["cause"], ended["signal"]) == (part, signal.SIGKILL)
        assert "SIGKILL" in ended["error"]
        assert not of_job(job, attempt)
        site.stepped(job, attempt + 1)
    kill_together([*agent.parts("slot"), *agent.parts("guard")])
    site.stepped(job, 5)
    assert not of_job(job, 4)
    assert went_on(site, job)["failures"] == 2  # the slot's death is not the job's fault


def test_a_frozen_guard_costs_no_job_and_a_retry_waits_for_the_cancelled_one(site: PoolWithAgents) -> None:
    site.crew(2)
    job, agent = site.running(strict=True)
    send(signal.SIGSTOP, agent.parts("guard"))
    site.began(job, 2)  # what the workflow did meanwhile nobody has heard: its steps are repeated
    assert not history.overlap_s(site.moments(job))
    site.pool.client.delete(f"/jobs/{job}")
    again = site.pool.client.post(f"/jobs/{job}/retry")["id"]
    begun = site.began(again)
    assert site.moments(job)[-1].at < begun.at
    site.pool.client.delete(f"/jobs/{again}")


def test_a_killed_agent_and_one_that_says_good_bye_cost_no_job_and_leave_no_process(site: PoolWithAgents) -> None:
    [agent] = site.crew(1, MUSTER_SLOTS="2")
    quick, strict = (site.running(strict=strict, params={"escapes": True})[0] for strict in (False, True))
    [other] = site.crew(1, MUSTER_SLOTS="2")
    killed_s = now_s()
    send(signal.SIGKILL, agent.parts("main"))
    eventually(lambda: not agent.processes(), 1 + BUSY_S)
    assert not of_job(quick, 1) | of_job(strict, 1)
    assert began_s(site, quick, 2) - killed_s < 1 + BUSY_S
    assert began_s(site, strict, 2) - killed_s < DOWN_S + INTERVAL_S + BUSY_S
    agent.start().healthy()
    for job in (quick, strict):
        site.stepped(job, 2)
    assert other.end() == 0
    eventually(lambda: other.is_("left"), 5)
    for job in (quick, strict):
        site.stepped(job, 3)
        assert went_on(site, job, lost_s=ALONE_S)["failures"] == 0
    assert [each["worker"] for each in site.investigations()] == [agent.id]


def test_a_job_that_kills_its_agents_ends_in_a_pool_of_two_and_costs_no_other_job(site: PoolWithAgents) -> None:
    site.crew(2, MUSTER_SLOTS="2")
    others = [site.running()[0] for _ in range(2)]
    killer = site.submit(params={"kills": True})

    def has_ended() -> bool:
        for agent in site.agents:
            if not agent.parts("main"):
                agent.start()
        site.rows("UPDATE jobs SET not_before = now() WHERE not_before IS NOT NULL RETURNING id")  # in place of a pause
        return site.job(killer)["state"] in ENDED

    eventually(has_ended, 90)
    found, tried = site.job(killer), site.attempts(killer)
    assert (found["state"], found["failures"], len(tried)) == ("failed", 0, 3)
    assert found["error"].startswith("3 workers died under it, without a checkpoint in between: ")
    assert all(each["worker_name"] in found["error"] for each in tried)
    for job in others:
        assert site.finish(job)["state"] == "succeeded"
    for agent in site.agents:
        agent.healthy()


def test_a_worker_that_returns_has_its_job_at_once_after_its_death_as_after_its_good_bye(site: PoolWithAgents) -> None:
    [agent] = site.crew(1)
    job, _ = site.running(strict=True)
    agent.kill()
    agent.start().healthy()
    site.stepped(job, 2)
    told = len(site.told(job))
    assert agent.end() == 0
    eventually(lambda: agent.is_("left"), 5)
    found = eventually(lambda: (it := site.job(job))["waiting"] and it)
    assert (found["state"], found["status"], found["failures"]) == ("pending", "running (moving)", 0)
    agent.start().healthy()
    site.stepped(job, 3)
    went_on(site, job)
    steps = [each.step for each in site.moments(job) if each.what == "end" and each.attempt > 1]
    assert steps == sorted(set(steps))  # the good-bye lost and repeated nothing
    assert len(site.told(job)) == told


def test_a_frozen_agent_that_thaws_finds_itself_given_up_and_is_healthy_within_an_interval(
    site: PoolWithAgents,
) -> None:
    [agent] = site.crew(1, MUSTER_SLOTS="3")
    alone = {"only_workers": [agent.id]}
    quick, strict, own = (site.running(**spec)[0] for spec in ({}, {"strict": True}, alone))
    site.crew(1, MUSTER_SLOTS="3")
    agent.freeze()
    for job in (quick, strict):
        site.began(job, 2)
    assert agent.is_("down")
    assert site.job(own)["attempt"] == 1  # nobody else could run it
    thawed_s = agent.thaw() / history.S
    eventually(lambda: agent.is_("healthy"), INTERVAL_S + BUSY_S)
    eventually(lambda: gone(quick)() and gone(strict)(), INTERVAL_S + BUSY_S)
    late = [each for each in history.attempts(site.moments(strict))[1] if each.at / history.S > thawed_s]
    assert all(each.what == "end" or each.at / history.S < thawed_s + 1 for each in late)
    eventually(lambda: last_s(site, own) > thawed_s)
    assert went_on(site, own)["attempt"] == 1
    for job in (quick, strict):
        went_on(site, job, unheard=True)
    assert agent.incarnation == 1


def test_strict_jobs_end_in_time_whatever_hangs_and_whatever_the_wall_clock_does(
    site: PoolWithAgents, tmp_path: Path
) -> None:
    clocks = {hours: WallClock(new_folder(tmp_path / str(hours))) for hours in (7, -7)}
    faults: dict[str, tuple[dict[str, str], Callable[[Agent], None]]] = {
        "main frozen": ({}, stop("main")),
        "beat frozen": ({}, stop("beat")),
        "beat killed": ({}, stop("beat", signal.SIGKILL)),
        "clock ahead": (clocks[7].environ(), stop("beat")),
        "clock behind": (clocks[-7].environ(), stop("beat")),
        "sampler frozen": (clocks[7].environ(), stop("sampler")),
    }
    starting = {name: site.starting(**told) for name, (told, _) in faults.items()}
    names = {agent.healthy().name: name for name, agent in starting.items()}
    jobs = dict(site.running(strict=True, params={"escapes": True}) for _ in faults)
    assert len({agent.name for agent in jobs.values()}) == len(faults)
    site.crew(1, MUSTER_SLOTS=str(len(faults)))
    for hours, clock in clocks.items():
        clock.set(hours)
    harmed = {}
    for job, agent in jobs.items():
        faults[names[agent.name]][1](agent)
        harmed[job] = now_s()
    for job, agent in jobs.items():
        if names[agent.name] == "sampler frozen":
            continue
        site.began(job, 2)
        assert not history.overlap_s(site.moments(job)), names[agent.name]
        assert last_s(site, job) - harmed[job] < TTL_S + BUSY_S, names[agent.name]
        eventually(gone(job), BUSY_S)
        went_on(site, job, unheard=names[agent.name] == "main frozen")
    [(job, agent)] = [(job, agent) for job, agent in jobs.items() if names[agent.name] == "sampler frozen"]
    clocks[7].set(-7)
    site.stepped(job, 1, after_s=now_s() + TTL_S)
    assert went_on(site, job)["attempt"] == 1  # no deadline came early
    assert agent.is_("healthy")
