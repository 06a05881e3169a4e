"""Claims and ends that come too late or twice, in a real pool: one attempt runs, and what has arrived counts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.pool.keys import envelope_id, queue
from app.pool.model import JobId
from tests.kit import history
from tests.kit.agents import Agent
from tests.kit.pool_with_agents import KEYS, PoolWithAgents
from tests.kit.processes import send
from tests.kit.services import eventually

pytestmark = pytest.mark.timeout(180)


class Envelope:
    """An attempt's envelope, to be delivered once more, also when RQ has long thrown it away."""

    def __init__(self, site: PoolWithAgents, agent: Agent, job: str) -> None:
        worker = agent.id
        self._rq = site.redis(0)
        self._name = envelope_id(worker, JobId(job), 1)
        self._queue = f"rq:queue:{queue(worker)}"
        self._text = self._rq.dump(f"rq:job:{self._name}")

    def deliver(self) -> None:
        """Put it into the queue, and wait until a slot has taken it and is done with it."""
        key = f"rq:job:{self._name}"
        self._rq.restore(key, 0, self._text, replace=True)
        self._rq.lpush(self._queue, self._name)
        eventually(lambda: not self._rq.exists(self._queue, f"{self._queue}:intermediate"))
        eventually(lambda: self._rq.hget(key, "ended_at"))


@contextmanager
def without_coordinator(site: PoolWithAgents) -> Iterator[None]:
    """It stands still meanwhile."""
    coordinator = [site.pool.only("app coordinator")]
    send(signal.SIGSTOP, coordinator)
    try:
        yield
    finally:
        send(signal.SIGCONT, coordinator)


def steps_of(site: PoolWithAgents, job: str) -> list[int]:
    return [each.step for each in site.moments(job) if each.what == "begin"]


def test_second_deliveries_and_stale_envelopes_run_nothing(site: PoolWithAgents) -> None:
    [agent] = site.crew(1, MUSTER_SLOTS="2")
    job, _ = site.running()
    envelope = Envelope(site, agent, job)
    envelope.deliver()
    site.stepped(job, 1, after_s=site.moments(job)[-1].at / history.S)
    done = site.finish(job)
    assert (done["state"], done["attempt"]) == ("succeeded", 1)
    steps = steps_of(site, job)
    assert steps == list(range(len(steps)))  # one after the other, each once
    envelope.deliver()  # its attempt has ended
    refused = f"SELECT why FROM refused_reports WHERE job_id = '{job}' AND kind = 'claim'"
    eventually(lambda: site.rows(refused))
    assert agent.end() == 0
    agent.start().healthy()
    with without_coordinator(site):  # which might remove it first
        envelope.deliver()  # it was of an older incarnation
    assert "is not ours" in agent.said
    assert steps_of(site, job) == steps
    assert site.ended(site.submit(steps=1))["state"] == "succeeded"


def test_a_cancel_that_overtakes_the_claim_wins(site: PoolWithAgents, tmp_path: Path) -> None:
    go = tmp_path / "go"
    [agent] = site.crew(1, MUSTER_FAULT=f"main.before_claim=file {go}")
    job = site.submit()
    eventually(lambda: agent.parts("guard"))
    site.pool.client.delete(f"/jobs/{job}")
    go.touch()
    eventually(lambda: not agent.parts("guard"))
    assert site.moments(job) == []
    assert site.job(job)["status"] == "cancelled"
    assert site.ended(site.submit(steps=1))["state"] == "succeeded"


def test_an_end_that_has_arrived_wins_over_the_take_away(site: PoolWithAgents) -> None:
    [agent] = site.crew(1)
    job, _ = site.running()
    site.crew(1)
    out = KEYS.out(agent.id)
    with without_coordinator(site):
        site.let_finish(job)
        eventually(lambda: any('"end":"succeeded"' in fields["report"] for _, fields in site.redis(1).xrange(out)))
        agent.kill()
    done = site.ended(job)
    assert (done["state"], done["attempt"]) == ("succeeded", 1)
    eventually(lambda: agent.is_("down"), 30)  # the coordinator has to be back first
    assert len(site.attempts(job)) == 1
