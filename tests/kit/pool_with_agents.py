"""A pool with short intervals and agents of the test's own, each on a host of its own where there is a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg.rows import dict_row

from app.ledger import policy
from app.ledger.db import Ledger
from app.pool.keys import Keys
from app.pool.model import ENDED, new_id
from tests.kit import history
from tests.kit.agents import Agent
from tests.kit.hosts import Network
from tests.kit.recorded_steps import WORKFLOWS
from tests.kit.services import Services, eventually
from tests.kit.whole_pool import WholePool

INTERVAL_S = 1.0
BUSY_S = 4.0  # what a busy computer of two cores adds to whatever is awaited
MOST_STEPS = 10_000  # of a job that runs until it is told to finish
TTL_S, DOWN_S = 7 / 3 * INTERVAL_S, 3 * INTERVAL_S
KEYS = Keys("pool:")


class PoolWithAgents:
    """A whole pool; `agent` starts an agent, `close` ends everything, `renew` the agents between two tests."""

    def __init__(self, folder: Path, database_url: str, network: Network | None, interval_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.network = network
        self.interval_s = interval_s
        self.database_url = database_url
        self.ledger = Ledger.connect(database_url)
        self.pool = WholePool(folder / "home", bind=network.address if network else "127.0.0.1")
        self.agents: list[Agent] = []
        self.before: tuple[str, ...] = ()  # what its agents' commands are preceded by
        self.history = folder / "history"
        self._until: dict[str, Path] = {}
        self._clients: dict[int, Any] = {}
        self._workflows = folder / "workflows.toml"
        self._workflows.write_text(WORKFLOWS)

    def redis(self, database: int) -> Any:
        """A client of the pool's own server, which `close` closes; RQ is in database 0, the pool in 1."""
        if database not in self._clients:
            url = (self.pool.home / "valkey" / "url").read_text().strip()
            self._clients[database] = redis.Redis.from_url(f"{url}/{database}", decode_responses=True)
        return self._clients[database]

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows that the ledger answers to a query of the test's own."""
        with psycopg.connect(self.database_url, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def agent(self, **environment: str) -> Agent:
        """A new worker that is healthy."""
        return self.starting(**environment).healthy()

    def crew(self, count: int, **environment: str) -> list[Agent]:
        """`count` new workers that are healthy; they start side by side."""
        return [agent.healthy() for agent in [self.starting(**environment) for _ in range(count)]]

    def starting(self, **environment: str) -> Agent:
        """A new worker on its way into the pool."""
        name = f"render-{new_id()[:4]}"
        host = self.network.host(name.removeprefix("render-")) if self.network else None
        told = {"MUSTER_WORKFLOWS": str(self._workflows), **environment}
        self.agents.append(Agent(self.pool, name, host, told, self.before).start())
        return self.agents[-1]

    def twin(self, agent: Agent) -> Agent:
        """Another agent of the same identity and state folder, on another host, which lacks the first one's lock."""
        assert self.network and agent.host
        apart = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run/lock && exec "$@"', "sh")
        same = {**agent.environment, "MUSTER_HOST_ID": agent.host.environment["MUSTER_HOST_ID"]}
        self.agents.append(replace(agent, host=self.network.host("twin"), environment=same, before=apart, process=None))
        return self.agents[-1].start()

    def submit(self, *, steps: int = 40, step_s: float = 0.1, **spec: Any) -> str:
        """Submit a job of `steps` steps; returns its id."""
        params = {"history": str(self.history), "steps": steps, "step_s": step_s, **spec.pop("params", {})}
        return str(self.pool.client.post("/jobs", {"workflow": "steps", "params": params, **spec})["id"])

    def change(self, **settings: Any) -> None:
        """Change the pool's settings, as an admin does."""
        self.patch("/admin/settings", **settings)

    def patch(self, path: str, **changes: Any) -> None:
        """Change these fields of a resource."""
        self.pool.client._json("PATCH", path, changes)

    def job(self, job: str) -> dict[str, Any]:
        """The job as the API shows it."""
        found: dict[str, Any] = self.pool.client.get(f"/jobs/{job}")
        return found

    def attempts(self, job: str) -> list[dict[str, Any]]:
        """The attempts of the job, the first first."""
        found: list[dict[str, Any]] = self.pool.client.get(f"/jobs/{job}/attempts")["items"]
        return found

    def checkpoints(self, job: str) -> list[dict[str, Any]]:
        """The checkpoints that were kept of the job, the newest first."""
        found: list[dict[str, Any]] = self.pool.client.get(f"/jobs/{job}/checkpoints", {"limit": 200})["items"]
        return found

    def told(self, job: str) -> list[dict[str, Any]]:
        """What the job's owner was told of it."""
        return [each for each in self.pool.client.get("/notifications")["items"] if each["job"] == job]

    def investigations(self) -> list[dict[str, Any]]:
        """The open investigations of the present agents' workers."""
        present = {worker["id"] for agent in self.agents if (worker := agent.worker())}
        found = self.pool.client.get("/admin/investigations", {"open": "true"})["items"]
        return [each for each in found if each["worker"] in present]

    def ended(self, job: str, seconds: float = 40) -> dict[str, Any]:
        """Wait until the job has ended; returns it."""
        found = eventually(lambda: (it := self.job(job))["state"] in ENDED and it, seconds)
        assert found
        return found

    def moments(self, job: str) -> list[history.Moment]:
        """The moments that the job wrote down."""
        return history.by_job(history.read(self.history)).get(job, [])

    def began(self, job: str, attempt: int = 1, seconds: float = 30) -> history.Moment:
        """The first step of this attempt or a later one, waited for."""
        found = eventually(lambda: next((each for each in self.moments(job) if each.attempt >= attempt), None), seconds)
        assert found
        return found

    def stepped(self, job: str, attempt: int, after_s: float = 0.0) -> None:
        """Wait until a step of this attempt has ended, after this moment (CLOCK_BOOTTIME)."""

        def ended() -> bool:
            moments = history.attempts(self.moments(job)).get(attempt, [])
            return any(each.what == "end" and each.at / history.S > after_s for each in moments)

        eventually(ended, 30)

    def running(self, **spec: Any) -> tuple[str, Agent]:
        """A new job in its second step or later, and the agent that runs it; it goes on until `finish`."""
        until = self.folder / f"finish-{new_id()}"
        params = {"until": str(until), **spec.pop("params", {})}
        job = self.submit(steps=MOST_STEPS, params=params, **spec)
        self._until[job] = until
        eventually(lambda: any(each.step >= 1 for each in self.moments(job)), 30)
        return job, self.of(self.moments(job)[-1].worker)

    def let_finish(self, job: str) -> None:
        """Let a running job end with its present step."""
        self._until[job].touch()

    def finish(self, job: str) -> dict[str, Any]:
        """Let a running job end; returns it once it has ended."""
        self.let_finish(job)
        return self.ended(job)

    def of(self, worker: str) -> Agent:
        """The agent of a worker's id."""
        return next(each for each in self.agents if (found := each.worker()) and found["id"] == worker)

    def renew(self) -> None:
        """End all jobs and agents, and wait until the pool has given up on them."""
        for job in self.pool.client.get("/jobs", {"limit": 200})["items"]:
            if job["state"] not in ENDED:
                self.pool.client.delete(f"/jobs/{job['id']}")
        agents, self.agents = self.agents, []
        with ExitStack() as stack:  # each is closed, also when another cannot be
            for agent in agents:
                stack.callback(agent.close)
        if self.network:
            self.network.clear()
        eventually(lambda: not any(agent.is_("healthy") or agent.is_("degraded") for agent in agents), 15)

    def close(self) -> None:
        """End the pool and all its agents."""
        try:
            self.renew()
        finally:
            self.ledger.close()
            for client in self._clients.values():
                client.close()
            self.pool.stop()


@contextmanager
def new_pool_with_agents(
    folder: Path,
    services: Services,
    network: Network | None = None,
    interval_s: float = INTERVAL_S,
    environment: dict[str, str] | None = None,
) -> Iterator[PoolWithAgents]:
    """A pool without agents; `environment` is added to that of its servers."""
    database_url = services.new_database()
    site = PoolWithAgents(folder, database_url, network, interval_s)
    try:
        # The agents share one host: what each has measured of its processors a moment ago tells them apart by chance.
        policy.write(site.ledger, {"heartbeat_interval_s": interval_s, "w_gpu": 0.0}, "test")
        site.pool.environment |= environment or {}
        site.pool.start("--no-agent", DATABASE_URL=database_url)
        yield site
    finally:
        site.close()
        services.drop_database()
