"""Faults between hosts, in a real pool over network namespaces: cables, routes and firewalls that really are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from agent.processes import carried_by
from tests.chaos import history
from tests.hosts import DROP, REJECT, Host, new_network
from tests.services import Services, eventually
from tests.site import DOWN_S, INTERVAL_S, Site, new_site

pytestmark = pytest.mark.timeout(180)
BUSY_S = 2.0  # what a busy computer of two cores adds
TCP = "meta l4proto tcp"


@pytest.fixture(scope="module")
def pool_of_module(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Iterator[Site]:
    with new_network() as network, new_site(tmp_path_factory.mktemp("hosts"), services, network) as site:
        yield site


@pytest.fixture
def site(pool_of_module: Site) -> Iterator[Site]:
    yield pool_of_module
    pool_of_module.renew()


def cut(host: Host) -> None:
    host.cut()


def lost_route(host: Host) -> None:
    host.lose_route()


def rejecting(host: Host) -> None:
    """Its firewall resets what comes and swallows what goes: the call is refused though the agent lives."""
    host.filter(TCP, REJECT, "accept")


def deaf(host: Host) -> None:
    host.filter(TCP, DROP, "accept")


def mute(host: Host) -> None:
    host.filter(TCP, "accept", DROP)


LOSSES = [cut, lost_route, rejecting, deaf, mute]


@pytest.mark.parametrize("lose", LOSSES)
def test_a_strict_job_of_a_lost_host_goes_on_elsewhere_without_an_overlap(
    site: Site, lose: Callable[[Host], None]
) -> None:
    site.agent()
    site.agent()
    job, agent = site.running(strict=True, steps=100)
    assert agent.host
    lose(agent.host)
    before = site.moments(job)[-1].at
    after = site.began(job, 2).at
    assert not history.overlap_s(site.moments(job))
    assert (after - before) / history.S < DOWN_S + INTERVAL_S + BUSY_S
    assert not carried_by(job, 1)
    agent.host.mend()
    assert site.ended(job)["state"] == "succeeded"
    eventually(lambda: agent.is_("healthy"), 10)


def test_a_late_result_of_a_lost_host_is_refused_recorded_and_shown(site: Site) -> None:
    site.agent()
    site.agent()
    job, agent = site.running(steps=60)
    assert agent.host
    agent.host.cut()
    site.began(job, 2)
    eventually(lambda: not carried_by(job, 1), 20)  # it has gone on to its end, cut off as it is
    agent.host.mend()
    done = site.ended(job)
    assert (done["state"], done["attempt"]) == ("succeeded", 2)
    eventually(lambda: site.attempts(job)[0]["refused"] > 0, 15)
    assert site.job(job)["result"] == done["result"]
    eventually(lambda: agent.is_("healthy"), 10)


def test_a_job_that_is_not_strict_ends_on_a_cut_off_host_within_its_max_orphan_s(site: Site) -> None:
    site.agent()
    site.agent()
    job, agent = site.running(steps=400, max_orphan_s=5)
    assert agent.host
    agent.host.cut()
    before = site.moments(job)[-1].at
    site.began(job, 2)
    eventually(lambda: not carried_by(job, 1), 5 + INTERVAL_S + BUSY_S)
    assert (history.attempts(site.moments(job))[1][-1].at - before) / history.S < 5 + BUSY_S
    site.pool.client.delete(f"/jobs/{job}")


@pytest.mark.parametrize("wiped", [False, True])
def test_a_worker_that_comes_back_with_an_attempt_that_was_taken_away_stops_it(site: Site, wiped: bool) -> None:
    spare = site.agent()
    agent = site.agent()
    spare_worker = spare.worker()
    assert spare_worker and agent.host
    job, agent = site.running(steps=400)
    assert agent.host
    agent.host.cut()
    site.began(job, 2)
    if wiped:
        with redis.Redis.from_url(f"{site.redis_url}/1") as client:
            client.flushall()
    agent.host.mend()
    eventually(lambda: not carried_by(job, 1), 15)
    site.pool.client.delete(f"/jobs/{job}")
    quick = [site.submit(steps=20) for _ in range(2)]  # its slot is free again: both run at once
    assert all(site.ended(each)["state"] == "succeeded" for each in quick)
    assert len({site.moments(each)[0].worker for each in quick}) == 2


def test_a_slow_link_is_no_death(site: Site) -> None:
    agent = site.agent()
    assert agent.host
    agent.host.slow()
    job, _ = site.running(steps=80)
    assert site.ended(job)["attempt"] == 1
    assert agent.is_("healthy")


def test_a_worker_joins_anew_while_its_old_incarnation_is_frozen(site: Site) -> None:
    """As a guest that is suspended and started again from its image elsewhere: no lock of a host can see that."""
    old = site.agent()
    job, _ = site.running(strict=True, steps=60)
    assert old.host and old.process
    old.freeze()
    old.host.cut()
    eventually(lambda: old.is_("down"), DOWN_S + 10)
    site.twin(old).healthy()
    assert site.began(job, 2)
    old.host.mend()
    thawed = old.thaw()
    # It finds itself replaced, and kills what is its worker's: here also the twin's, for both see the same /proc.
    assert old.process.wait(15) == 1
    assert history.attempts(site.moments(job))[1][-1].at < thawed + 1 * history.S
    assert site.ended(job)["state"] == "succeeded"
