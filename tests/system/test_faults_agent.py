"""Faults of one agent's processes in a real pool at an interval of a second: no job is lost, none done twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.processes import carried_by
from tests.agents import send
from tests.chaos import history
from tests.hosts import new_network
from tests.scripted_pool import alive, kill_together
from tests.services import Services, eventually
from tests.site import DOWN_S, INTERVAL_S, Site, new_site

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


@pytest.mark.parametrize("part", ["guard", "workflow", "slot"])
def test_a_killed_part_is_noticed_within_a_second_and_the_job_goes_on_from_its_checkpoint(
    site: Site, part: str
) -> None:
    site.agent()
    job, agent = site.running()
    before = site.moments(job)[-1]
    send(signal.SIGKILL, agent.parts(part))
    after = site.began(job, 2)
    first = site.attempts(job)[0]
    assert (after.at - before.at) / history.S < 1 + BUSY_S
    assert after.step >= before.step - 1
    assert first["cause"] == part and first["end"] == "failed" or part == "slot" and first["cause"] == "slot"
    assert site.ended(job)["state"] == "succeeded"
    assert site.job(job)["failures"] == (0 if part == "slot" else 1)
