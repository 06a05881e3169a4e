"""What admins set, on a whole pool with real agents: it holds within a second, and agents follow."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.kit.agents import Agent
from tests.kit.pool_with_agents import PoolWithAgents
from tests.kit.services import eventually

WORKFLOWS = """
[workflows.tags]
runner = "python"
target = "tests.kit.steps:tags"

[workflows.quick]
runner = "python"
target = "tests.kit.steps:quick"
parameters.mark = {}

[workflows.polite]
runner = "python"
target = "tests.kit.steps:polite"
"""
MODEL = ["model:sdxl"]


@pytest.fixture
def agent(site: PoolWithAgents, tmp_path: Path) -> Agent:
    """A worker with one slot."""
    workflows = tmp_path / "workflows.toml"
    workflows.write_text(WORKFLOWS)
    return site.agent(MUSTER_WORKFLOWS=str(workflows))


def worker(agent: Agent) -> dict[str, Any]:
    found = agent.worker()
    assert found is not None
    return found


def submit(site: PoolWithAgents, workflow: str, **rest: Any) -> str:
    return str(site.pool.client.post("/jobs", {"workflow": workflow, **rest})["id"])


def patch(site: PoolWithAgents, path: str, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {site.pool.token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{site.pool.server}{path}", json.dumps(body).encode(), headers, method="PATCH")
    with urllib.request.urlopen(asked, timeout=10) as answered:
        assert answered.status == 200


def waits(site: PoolWithAgents, job: str, words: str) -> bool:
    waiting = site.job(job)["waiting"]
    return bool(waiting) and words in waiting["why"]


def act(site: PoolWithAgents, action: str, agent: Agent, **rest: Any) -> None:
    done = site.pool.client.post("/admin/workers/actions", {"action": action, "workers": [agent.id], **rest})
    assert done["done"] == 1, done


def assigned_s(site: PoolWithAgents, job: str, since: float) -> float:
    """How long after this moment (time.time()) its first attempt was assigned."""
    [attempt] = site.attempts(job)
    at = datetime.fromisoformat(attempt["assigned_at"]).astimezone(timezone.utc)
    return at.timestamp() - since


def test_jobs_find_a_model_that_a_workflow_has_loaded_until_the_agent_starts_anew(
    site: PoolWithAgents, agent: Agent
) -> None:
    waiting = submit(site, "quick", requires=MODEL)
    eventually(lambda: waits(site, waiting, "lacks model:sdxl"))
    assert site.ended(submit(site, "tags"))["state"] == "succeeded"
    assert site.ended(waiting)["state"] == "succeeded"
    assert worker(agent)["dynamic_tags"] == MODEL
    assert site.ended(submit(site, "quick", requires=MODEL))["state"] == "succeeded"
    agent.end()
    agent.start().healthy()
    assert worker(agent)["dynamic_tags"] == []
    again = submit(site, "quick", requires=MODEL)
    eventually(lambda: waits(site, again, "lacks model:sdxl"))


def test_a_waiting_job_starts_within_a_second_of_a_re_tag_a_re_group_and_a_resume(
    site: PoolWithAgents, agent: Agent
) -> None:
    site.pool.client.post("/admin/groups", {"name": "farm"})
    needs: tuple[dict[str, Any], ...] = ({"requires": ["optix"]}, {"group": "farm"}, {"requires": ["late"]})
    tagged, grouped, paused = (submit(site, "quick", **each) for each in needs)
    eventually(lambda: all(site.job(job)["waiting"]["for"] == "worker" for job in (tagged, grouped, paused)))
    for job, action, arguments in ((tagged, "tag", {"tags": ["optix"]}), (grouped, "group", {"groups": ["farm"]})):
        began = time.time()
        act(site, action, agent, **arguments)
        assert site.ended(job)["state"] == "succeeded"
        assert assigned_s(site, job, began) < 1
    act(site, "pause", agent, for_s=600)
    act(site, "tag", agent, tags=["late"])
    eventually(lambda: waits(site, paused, "is paused"))
    began = time.time()
    act(site, "resume", agent)
    assert site.ended(paused)["state"] == "succeeded"
    assert assigned_s(site, paused, began) < 1
    site.pool.client.delete("/admin/groups/farm")


def test_an_agent_has_as_many_slots_as_an_admin_says_also_after_it_has_started_anew(
    site: PoolWithAgents, agent: Agent
) -> None:
    path = f"/admin/workers/{agent.id}"
    jobs = [submit(site, "polite") for _ in range(2)]

    def running() -> int:
        return sum(site.job(job)["status"] == "running" for job in jobs)

    eventually(lambda: running() == 1)
    patch(site, path, {"slots": 2})
    eventually(lambda: running() == 2, 20)
    patch(site, path, {"slots": 1})
    third = submit(site, "quick")
    site.pool.client.delete(f"/jobs/{jobs[0]}")
    eventually(lambda: site.job(jobs[0])["status"] == "cancelled", 20)
    assert site.job(jobs[1])["status"] == "running"  # a slot too many goes when what it runs has ended
    assert site.job(third)["status"] == "waiting"
    site.pool.client.delete(f"/jobs/{jobs[1]}")
    assert site.ended(third)["state"] == "succeeded"
    patch(site, path, {"slots": 3})
    agent.end()
    agent.start().healthy()
    assert (worker(agent)["slots"], worker(agent)["slots_offered"]) == (3, 1)
    jobs = [submit(site, "polite") for _ in range(3)]
    eventually(lambda: running() == 3, 20)
