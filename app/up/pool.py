"""`python -m app up`: the whole pool on one host, each part a process of its own, until a signal comes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from app.cli.client import Client
from app.ledger import migrate
from app.ledger.db import Ledger
from app.pool.errors import PoolError, Unavailable
from app.pool.settings import POOL_DATABASE, RQ_DATABASE, Environment, redis_urls
from app.pool.text import write_private
from app.up.embedded import Server
from app.up.embedded.postgresql import postgresql
from app.up.embedded.valkey import valkey
from app.up.home import Home
from app.up.local_agents import local_agents
from app.up.processes import Program, listen_problem
from app.up.reach import check_postgresql, check_redis
from app.up.supervisor import StopRequested, Supervisor

READY_S = 60  # PostgreSQL may have to replay its log after a crash
CALL_S = 1  # a signal waits as long at most
# When, after the signal, what has not ended is killed: agents first, the servers last.
AGENTS_END_S, PARTS_END_S, SERVERS_END_S = 7.5, 8.5, 9.5


@dataclass(frozen=True)
class UpOptions:
    """How the pool is to be started."""

    home: Path
    port: int
    bind: str
    workers: int | None  # None: one per GPU, or one without
    agent: bool
    restart: bool

    @property
    def server(self) -> str:
        """The address of the pages and of the API."""
        return f"http://{_in_url(self.bind)}:{self.port}"


def run(options: UpOptions) -> int:
    """Run the pool until a signal comes; returns the exit code."""
    try:
        _check_address(options)
        pool = LocalPool(options, Home(options.home))
    except PoolError as error:
        return _refuse(error)
    try:
        pool.start()
        pool.supervisor.run()
    except PoolError as error:
        return _refuse(error)
    except StopRequested:
        pool.supervisor.say("stopping")
        return 0
    finally:
        pool.stop()


class LocalPool:
    """The pool's processes on this host: servers, web and coordinator, agents."""

    def __init__(self, options: UpOptions, home: Home) -> None:
        self.options = options
        self.home = home
        self.supervisor = Supervisor(home.path / "log", options.restart)
        self.servers: list[Server] = []
        self.agents: list[Program] = []
        self.refused: dict[str, str] = {}  # agents that cannot work here, and what they said

    def start(self) -> None:
        """Start everything; returns when all are ready, or READY_S is over. Raises PoolError, StopRequested."""
        environment = {**os.environ, "MUSTER_HOME": str(self.home.path), "PYTHONUNBUFFERED": "1"}
        environment |= self._redis(environment) | self._postgresql(environment)
        self._start_servers()
        migrate.migrate(environment["DATABASE_URL"])
        admin, join = self._tokens(environment["DATABASE_URL"])
        write_private(self.home.path / "server", self.options.server + "\n")
        self._start_parts(environment)
        if self.options.agent:
            self._start_agents(environment, join)
        if self.supervisor.wait(lambda: self._ready(admin), READY_S, 0.25):
            print(_greeting(self.options, self.refused), flush=True)
        else:
            self.supervisor.say(f"not ready after {READY_S} s, still trying; {self.home.path}/log may say why")

    def stop(self) -> None:
        """End everything in order: a process ends before what it uses."""
        now = time.monotonic()
        self.supervisor.stop([agent.name for agent in self.agents], now + AGENTS_END_S)
        self.supervisor.stop(["coordinator", "web"], now + PARTS_END_S)
        self.supervisor.stop([server.program.name for server in self.servers], now + SERVERS_END_S)
        for server in self.servers:
            server.tidy()

    def _redis(self, environment: Environment) -> dict[str, str]:
        """The URLs of Redis that are not set yet."""
        if environment.get("REDIS_URL"):
            for url in redis_urls(environment):
                check_redis(url)
            return {}
        server = valkey(self.home.path / "valkey", self.options.bind)
        self.servers.append(server)
        told = urlunsplit(urlsplit(server.url)._replace(netloc=_with_host(server.url, self.options.bind)))
        found = {
            "REDIS_URL": f"{server.url}/{POOL_DATABASE}",
            "MUSTER_AGENT_REDIS_URL": f"{told}/{POOL_DATABASE}",
        }
        if environment.get("RQ_REDIS_URL"):
            check_redis(environment["RQ_REDIS_URL"])
            return found
        rq = {"RQ_REDIS_URL": f"{server.url}/{RQ_DATABASE}", "MUSTER_AGENT_RQ_REDIS_URL": f"{told}/{RQ_DATABASE}"}
        return found | rq

    def _postgresql(self, environment: Environment) -> dict[str, str]:
        if environment.get("DATABASE_URL"):
            check_postgresql(environment["DATABASE_URL"])
            return {}
        server = postgresql(self.home.path / "postgresql")
        self.servers.append(server)
        return {"DATABASE_URL": server.url}

    def _start_servers(self) -> None:
        for server in self.servers:
            self.supervisor.start(server.program, shown=False)
        for server in self.servers:
            if not self.supervisor.wait(partial(self._answers, server), READY_S, 0.02):
                raise PoolError(f"{server.program.name} did not answer within {READY_S} s; see {self.home.path}/log")

    def _answers(self, server: Server) -> bool:
        try:
            server.check(server.url)
        except Unavailable:
            self.supervisor.expect(server.program.name)
            return False
        return True

    def _tokens(self, database_url: str) -> tuple[str, str]:
        ledger = Ledger.connect(database_url, size=1)
        try:
            return self.home.token(ledger, "admin", "admin"), self.home.token(ledger, "join", "admin")
        finally:
            ledger.close()

    def _start_parts(self, environment: Environment) -> None:
        app = (sys.executable, "-m", "app")
        where = ("--bind", self.options.bind, "--port", str(self.options.port))
        self.supervisor.start(Program("web", (*app, "web", *where), environment))
        self.supervisor.start(Program("coordinator", (*app, "coordinator"), environment))

    def _start_agents(self, environment: Environment, join_token: str) -> None:
        options = self.options
        self.agents = local_agents(
            self.home.path, options.workers, options.server, options.bind, join_token, environment
        )
        # An agent that finds no server waits before it tries again, for longer than we wait here.
        self.supervisor.wait(self._web_answers, READY_S)
        for agent in self.agents:
            self.supervisor.start(agent)

    def _web_answers(self) -> bool:
        try:
            self._client("").get("/healthz")
        except PoolError:
            return False
        return True

    def _ready(self, token: str) -> bool:
        client = self._client(token)
        try:
            client.get("/readyz")
            healthy = {worker["name"] for worker in client.pages("/admin/workers", {"status": "healthy"})}
        except PoolError:
            return False
        missing = [agent.name for agent in self.agents if (agent.environment or {})["MUSTER_NAME"] not in healthy]
        # An agent that says by itself why it cannot work is not waited for.
        told = {name: self.supervisor.refusal(name) for name in missing}
        self.refused = {name: words for name, words in told.items() if words is not None}
        return len(self.refused) == len(missing)

    def _client(self, token: str) -> Client:
        return Client(self.options.server, token, CALL_S)


def _check_address(options: UpOptions) -> None:
    if options.bind in ("0.0.0.0", "::"):
        raise PoolError(f"--bind {options.bind} names no address that agents could call: name the one they reach us by")
    if problem := listen_problem(options.bind, options.port):
        raise PoolError(
            f"cannot listen on {options.bind} port {options.port}: {problem}; choose with --bind and --port"
        )


def _refuse(error: PoolError) -> int:
    print(f"muster: {error}", file=sys.stderr, flush=True)
    return 1


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _with_host(url: str, address: str) -> str:
    parts = urlsplit(url)
    return f":{parts.password}@{_in_url(address)}:{parts.port}"


def _greeting(options: UpOptions, refused: Mapping[str, str]) -> str:
    home = "" if options.home == Path(".muster").absolute() else f"MUSTER_HOME={options.home} "
    submit = f"{home}{sys.executable} -m app submit transcode --param input=VIDEO --param height=240 --wait"
    without = "".join(f"\n  {name} is tried again and again; it said: {words}" for name, words in refused.items())
    state = f"runs without {', '.join(refused)}" if refused else "is ready"
    return f"""
Muster {state}: {options.server}{without}
  a first job   {submit}
  admin token   {options.home}/admin-token
  to end        Ctrl-C
"""
