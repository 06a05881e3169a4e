"""Faults of one agent's processes in a real pool at an interval of a second: no job is lost, none done twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.processes import carried_by
from tests.agents import Agent, send
from tests.chaos import history
from tests.clock import WallClock
from tests.scripted_pool import kill_together
from tests.services import Services, eventually
from tests.site import DOWN_S, INTERVAL_S, TTL_S, Site, new_site

pytestmark = pytest.mark.timeout(180)
BUSY_S = 2.0  # what a busy computer of two cores adds


@pytest.fixture(scope="module")
def pool_of_module(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Iterator[Site]:
    with new_site(tmp_path_factory.mktemp("faults"), services) as site:
        yield site


@pytest.fixture
def site(pool_of_module: Site) -> Iterator[Site]:
    yield pool_of_module
    pool_of_module.renew()


def last_s(site: Site, job: str, attempt: int) -> float:
    """When the last step of this attempt began or ended (CLOCK_BOOTTIME)."""
    return history.attempts(site.moments(job))[attempt][-1].at / history.S


def went_on(site: Site, job: str) -> dict[str, Any]:
    """The job has succeeded in a later attempt, from the newest checkpoint, without an overlap."""
    done = site.ended(job)
    assert done["state"] == "succeeded", done
    moments = history.attempts(site.moments(job))
    finished = max(each.step for each in moments[1] if each.what == "end")
    assert (
        moments[min(moments.keys() - {1})][0].step >= finished
    )  # its checkpoint follows a step within moments: at most one is repeated
    assert not history.overlap_s(site.moments(job))
    return done


@pytest.mark.parametrize("part", ["guard", "workflow", "slot"])
def test_a_killed_part_is_noticed_within_a_second_and_the_job_goes_on(site: Site, part: str) -> None:
    site.agent()
    job, agent = site.running()
    before_s = last_s(site, job, 1)
    send(signal.SIGKILL, agent.parts(part))
    assert site.began(job, 2).at / history.S - before_s < 1 + BUSY_S
    first = site.attempts(job)[0]
    assert first["cause"] == part and (part == "slot" or first["signal"] == signal.SIGKILL)
    assert went_on(site, job)["failures"] == (0 if part == "slot" else 1)


def test_guard_and_slot_killed_in_one_blow_cost_no_job(site: Site) -> None:
    site.agent()
    job, agent = site.running(params={"escapes": True})
    kill_together([*agent.parts("slot"), *agent.parts("guard")])
    site.began(job, 2)
    assert not carried_by(job, 1)
    went_on(site, job)


def test_a_frozen_guard_costs_no_job(site: Site) -> None:
    site.agent()
    job, agent = site.running(strict=True)
    send(signal.SIGSTOP, agent.parts("guard"))
    site.began(job, 2)  # what the workflow did meanwhile nobody has heard: its steps are repeated
    assert not history.overlap_s(site.moments(job))
    assert site.ended(job)["state"] == "succeeded"


@pytest.mark.parametrize("strict", [False, True])
def test_a_killed_agent_costs_no_job_and_leaves_no_process(site: Site, strict: bool) -> None:
    site.agent()
    site.agent()
    job, agent = site.running(strict=strict, params={"escapes": True})
    send(signal.SIGKILL, agent.parts("main"))
    eventually(lambda: not agent.processes(), 1 + BUSY_S)
    assert not carried_by(job, 1)
    assert site.began(job, 2).at / history.S - last_s(site, job, 1) < DOWN_S + INTERVAL_S + BUSY_S
    went_on(site, job)


def test_an_agent_that_starts_again_has_its_job_at_once(site: Site) -> None:
    agent = site.agent()
    job, _ = site.running(strict=True)
    agent.kill()
    agent.start().healthy()
    site.began(job, 2)
    assert went_on(site, job)["failures"] == 0


@pytest.mark.parametrize("strict", [False, True])
def test_a_frozen_agent_that_thaws_finds_itself_given_up(site: Site, strict: bool) -> None:
    other = site.agent()
    site.agent()
    job, agent = site.running(strict=strict, steps=100)
    spare = next(each for each in site.agents if each is not agent)
    assert other in site.agents
    agent.freeze()
    site.began(job, 2)
    assert site.moments(job)[-1].worker == (spare.worker() or {})["id"]
    thawed_s = agent.thaw() / history.S
    eventually(lambda: agent.is_("healthy"), INTERVAL_S + BUSY_S)
    eventually(lambda: not carried_by(job, 1), INTERVAL_S + BUSY_S)
    late = [each for each in history.attempts(site.moments(job))[1] if each.at / history.S > thawed_s]
    if strict:
        assert all(each.what == "end" or each.at / history.S < thawed_s + 1 for each in late)
    assert site.ended(job)["state"] == "succeeded"
    assert site.ended(site.submit(steps=1))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("part", "number"), [("main", signal.SIGSTOP), ("beat", signal.SIGSTOP), ("beat", signal.SIGKILL)]
)
def test_a_strict_job_ends_in_time_whatever_of_its_agent_hangs(site: Site, part: str, number: signal.Signals) -> None:
    site.agent()
    site.agent()
    job, agent = site.running(strict=True, steps=100, params={"escapes": True})
    before_s = last_s(site, job, 1)
    send(number, agent.parts(part))
    site.began(job, 2)
    moments = history.attempts(site.moments(job))
    assert not history.overlap_s(site.moments(job))
    assert moments[1][-1].at / history.S - before_s < TTL_S + BUSY_S
    eventually(lambda: not carried_by(job, 1), BUSY_S)
    assert site.ended(job)["state"] == "succeeded"


@pytest.mark.parametrize("hours", [-7, 7])
def test_a_strict_job_ends_in_time_whatever_the_wall_clock_does(site: Site, tmp_path: Path, hours: int) -> None:
    clock = WallClock(tmp_path)
    told = clock.environ()
    site.agent(**told)
    site.agent(**told)
    quiet = site.submit(steps=40, strict=True)
    site.began(quiet)
    clock.set(hours)
    assert site.ended(quiet)["attempt"] == 1  # no deadline came early
    job, agent = site.running(strict=True, steps=100)
    clock.set(-hours)
    before_s = last_s(site, job, 1)
    send(signal.SIGSTOP, agent.parts("beat"))
    site.began(job, 2)
    assert not history.overlap_s(site.moments(job))
    assert last_s(site, job, 1) - before_s < TTL_S + BUSY_S
    assert site.ended(job)["state"] == "succeeded"


def test_a_hung_sampler_harms_nobody(site: Site) -> None:
    agent = site.agent()
    job, _ = site.running(steps=40)
    send(signal.SIGSTOP, agent.parts("sampler"))
    assert site.ended(job)["attempt"] == 1
    assert agent.is_("healthy")


def test_a_good_bye_loses_nothing_and_the_job_goes_on_when_its_worker_returns(site: Site) -> None:
    agent = site.agent()
    job, _ = site.running()
    assert agent.end() == 0
    eventually(lambda: agent.is_("left"), 5)
    found = site.job(job)
    assert (found["state"], found["failures"]) == ("pending", 0)
    agent.start().healthy()
    went_on(site, job)
    steps = [each.step for each in site.moments(job) if each.what == "end"]
    assert steps == sorted(set(steps))  # no step was lost or repeated
    assert not [each for each in site.pool.client.get("/notifications")["items"] if each["job"] == job]


def test_a_strict_job_whose_worker_says_good_bye_does_not_overlap(site: Site) -> None:
    site.agent()
    site.agent()
    job, agent = site.running(strict=True)
    assert agent.end() == 0
    went_on(site, job)


def test_a_retry_of_a_cancelled_strict_job_does_not_overlap_with_it(site: Site) -> None:
    site.agent()
    site.agent()
    job, _ = site.running(strict=True, steps=200)
    site.pool.client.delete(f"/jobs/{job}")
    again = site.pool.client.post(f"/jobs/{job}/retry")["id"]
    begun = site.began(again)
    assert site.moments(job)[-1].at < begun.at
    site.pool.client.delete(f"/jobs/{again}")


def test_agents_are_not_doubted_without_a_reason(site: Site) -> None:
    agents: list[Agent] = [site.agent() for _ in range(2)]
    site.ended(site.submit(steps=60))
    for agent in agents:
        worker = agent.worker()
        assert worker
        found = site.pool.client.get(f"/admin/workers/{worker['id']}/transitions")["items"]
        assert len(found) == 1, found
