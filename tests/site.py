"""A pool with short intervals and agents of the test's own, each on a host of its own where there is a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.ledger import policy
from app.ledger.db import Ledger
from app.pool.model import new_id
from tests.agents import Agent
from tests.chaos import history
from tests.chaos.steps import WORKFLOWS
from tests.hosts import Network
from tests.pool import Pool
from tests.services import Services, eventually

INTERVAL_S = 1.0
TTL_S, DOWN_S = 7 / 3 * INTERVAL_S, 3 * INTERVAL_S


class Site:
    """`agent` starts one; `close` ends them all, `renew` between two tests."""

    def __init__(self, folder: Path, database_url: str, network: Network | None) -> None:
        self.folder = folder
        self.network = network
        self.ledger = Ledger.connect(database_url)
        self.pool = Pool(folder / "home", bind=network.address if network else "127.0.0.1")
        self.agents: list[Agent] = []
        self.history = folder / "history"
        self._workflows = folder / "workflows.toml"
        self._workflows.write_text(WORKFLOWS)

    def set(self, **changes: Any) -> None:
        """Change settings of the pool; the leader sees them within 5 s."""
        policy.write(self.ledger, changes, "test")

    def agent(self, **environment: str) -> Agent:
        """A new worker that is healthy."""
        return self.starting(**environment).healthy()

    def starting(self, **environment: str) -> Agent:
        """A new worker on its way into the pool."""
        name = f"render-{new_id()[:4]}"
        host = self.network.host(name.removeprefix("render-")) if self.network else None
        told = {"MUSTER_WORKFLOWS": str(self._workflows), **environment}
        self.agents.append(Agent(self.pool, name, host, told).start())
        return self.agents[-1]

    def submit(self, *, steps: int = 40, step_s: float = 0.1, **spec: Any) -> str:
        """A job of that many steps; its id."""
        params = {"history": str(self.history), "steps": steps, "step_s": step_s, **spec.pop("params", {})}
        return str(self.pool.client.post("/jobs", {"workflow": "steps", "params": params, **spec})["id"])

    def job(self, job: str) -> dict[str, Any]:
        """What the API says of it."""
        found: dict[str, Any] = self.pool.client.get(f"/jobs/{job}")
        return found

    def attempts(self, job: str) -> list[dict[str, Any]]:
        """Its attempts, the first first."""
        found: list[dict[str, Any]] = self.pool.client.get(f"/jobs/{job}/attempts")["items"]
        return found

    def ended(self, job: str, seconds: float = 40) -> dict[str, Any]:
        """It, once it has ended."""
        found = eventually(
            lambda: (it := self.job(job))["state"] in ("succeeded", "failed", "cancelled") and it, seconds
        )
        assert found
        return found

    def moments(self, job: str) -> list[history.Moment]:
        """What it did."""
        return history.by_job(history.read(self.history)).get(job, [])

    def began(self, job: str, attempt: int = 1, seconds: float = 30) -> history.Moment:
        """The first step of this attempt, waited for."""
        found = eventually(lambda: next((each for each in self.moments(job) if each.attempt == attempt), None), seconds)
        assert found
        return found

    def running(self, steps: int = 60, **spec: Any) -> tuple[str, Agent]:
        """A new job in its second step or later, and the agent that runs it."""
        job = self.submit(steps=steps, **spec)
        eventually(lambda: any(each.step >= 1 for each in self.moments(job)), 30)
        return job, self.of(self.moments(job)[-1].worker)

    def of(self, worker: str) -> Agent:
        """The agent of a worker's id."""
        return next(each for each in self.agents if (found := each.worker()) and found["id"] == worker)

    def renew(self) -> None:
        """End all agents, and what the test has cut off."""
        agents, self.agents = self.agents, []
        for agent in agents:
            agent.close()

    def close(self) -> None:
        """Nothing of it is left."""
        try:
            self.renew()
        finally:
            self.ledger.close()
            self.pool.stop()


@contextmanager
def new_site(folder: Path, services: Services, network: Network | None = None) -> Iterator[Site]:
    """A pool at an interval of one second, without agents."""
    database_url = services.new_database()
    site = Site(folder, database_url, network)
    try:
        site.set(heartbeat_interval_s=INTERVAL_S)
        site.pool.start("--no-agent", DATABASE_URL=database_url)
        yield site
    finally:
        site.close()
        services.drop_database()
