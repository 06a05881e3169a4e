"""Faults between hosts, in a real pool over network namespaces: cables, routes and firewalls that really are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.processes import boottime_ns
from tests.kit import history
from tests.kit.agents import Agent
from tests.kit.hosts import LINKS, Host, Network, new_network
from tests.kit.pool_with_agents import BUSY_S, DOWN_S, INTERVAL_S, PoolWithAgents
from tests.kit.processes import of_job
from tests.kit.services import eventually

pytestmark = pytest.mark.timeout(180)
ORPHAN_S = 5
LOSSES = [name for name in LINKS if name != "slow"]


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with new_network() as network:
        yield network


def host_of(agent: Agent) -> Host:
    assert agent.host
    return agent.host


def each_on_its_own(site: PoolWithAgents, agents: int, **spec: object) -> dict[str, str]:
    """A running job on every agent; agent's name -> job."""
    running = [site.running(step_s=0.2, **spec) for _ in range(agents)]
    found = {agent.name: job for job, agent in running}
    assert len(found) == agents
    return found


def test_jobs_of_lost_hosts_go_on_elsewhere_and_what_they_say_late_is_refused_and_shown(site: PoolWithAgents) -> None:
    victims = dict(zip(LINKS, site.crew(len(LINKS), MUSTER_SLOTS="2"), strict=True))
    strict = each_on_its_own(site, len(victims), strict=True)
    quick = each_on_its_own(site, len(victims), max_orphan_s=ORPHAN_S)
    site.crew(1, MUSTER_SLOTS=str(2 * len(victims)))
    lost: dict[str, int] = {}
    for name, agent in victims.items():
        LINKS[name](host_of(agent))
        lost[name] = boottime_ns()
    for name in LOSSES:
        see_it_move(site, strict[victims[name].name], lost[name], name)
    for name in LOSSES:
        job = quick[victims[name].name]
        assert (site.began(job, 2).at - lost[name]) / history.S < DOWN_S + INTERVAL_S + BUSY_S, name
        eventually(lambda job=job: not of_job(job, 1), ORPHAN_S + BUSY_S)  # type: ignore[misc]
        last = history.attempts(site.moments(job))[1][-1].at
        assert (last - lost[name]) / history.S < ORPHAN_S + BUSY_S, name
    assert victims["slow"].is_("healthy")
    for agent in victims.values():
        host_of(agent).mend()
    for agent in victims.values():
        eventually(lambda agent=agent: agent.is_("healthy"), 10)  # type: ignore[misc]
    for name in LOSSES:
        see_it_refused(site, quick[victims[name].name])
    for of_agent in (strict, quick):
        assert {site.finish(job)["state"] for job in of_agent.values()} == {"succeeded"}
        assert site.job(of_agent[victims["slow"].name])["attempt"] == 1


def see_it_move(site: PoolWithAgents, job: str, lost: int, name: str) -> None:
    """A strict one: without an overlap, and nothing of it is left on the lost host."""
    assert (site.began(job, 2).at - lost) / history.S < DOWN_S + INTERVAL_S + BUSY_S, name
    assert not history.overlap_s(site.moments(job)), name
    assert not of_job(job, 1), name


def see_it_refused(site: PoolWithAgents, job: str) -> None:
    """What the first attempt has still said is on record, and was shown to whoever looks at the job."""
    kinds = f"SELECT kind FROM refused_reports WHERE job_id = '{job}' AND attempt = 1"
    eventually(lambda: {"checkpoint", "end"} <= {row["kind"] for row in site.rows(kinds)}, 15)
    assert site.attempts(job)[0]["refused"] >= 2
    assert {each["attempt"] for each in site.checkpoints(job)} >= {1, 2}


def test_a_late_result_is_no_second_one(site: PoolWithAgents) -> None:
    site.crew(2)
    job = site.submit(steps=40)
    agent = site.of(site.began(job).worker)
    host_of(agent).cut()
    site.began(job, 2)
    eventually(lambda: not of_job(job, 1), 15)  # it has gone on to its end, cut off as it is
    assert max(each.step for each in history.attempts(site.moments(job))[1]) == 39
    host_of(agent).mend()
    done = site.ended(job)
    assert (done["state"], done["attempt"]) == ("succeeded", 2)
    late = f"SELECT report FROM refused_reports WHERE job_id = '{job}' AND attempt = 1 AND kind = 'end'"
    eventually(lambda: site.rows(late), 15)
    assert site.rows(late)[0]["report"]["end"] == "succeeded"
    assert site.job(job)["result"] == done["result"]


def test_a_worker_that_comes_back_after_redis_was_wiped_stops_what_was_taken_away(site: PoolWithAgents) -> None:
    [agent] = site.crew(1)
    job, _ = site.running()
    site.crew(1)
    host_of(agent).cut()
    site.began(job, 2)
    site.redis(1).flushall()
    host_of(agent).mend()
    eventually(lambda: not of_job(job, 1), 15)
    site.pool.client.delete(f"/jobs/{job}")
    quick = [site.submit(steps=20) for _ in range(2)]  # its slot is free again: both run at once
    assert all(site.ended(each)["state"] == "succeeded" for each in quick)
    assert len({site.moments(each)[0].worker for each in quick}) == 2


def test_a_worker_joins_anew_while_its_old_incarnation_is_frozen_and_still_listens(site: PoolWithAgents) -> None:
    """As a guest that is suspended and started again from its image elsewhere: no lock of a host can see that."""
    [old] = site.crew(1)
    job, _ = site.running(strict=True)
    old.freeze()
    eventually(lambda: old.is_("down"), DOWN_S + INTERVAL_S + BUSY_S)
    site.twin(old).healthy()
    site.stepped(job, 2)
    thawed = old.thaw()
    # It finds itself replaced, and kills what is its worker's: here also the twin's, for both see the same /proc.
    assert old.process and old.process.wait(15) == 1
    assert history.attempts(site.moments(job))[1][-1].at < thawed + 1 * history.S
    assert site.finish(job)["state"] == "succeeded"
