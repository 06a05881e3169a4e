"""The real servers that tests run against: started by the tests, on ports of their own, fresh each run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import psycopg
import redis

from app.ledger.migrate import migrate
from app.pool.errors import Unavailable
from app.up.embedded import Server
from app.up.embedded.postgresql import postgresql
from app.up.embedded.valkey import valkey
from app.up.processes import Process, start, stop

T = TypeVar("T")
TEMPLATE = "migrated"
END_S = 5
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def eventually(condition: Callable[[], T], seconds: float = 10.0) -> T:
    """Wait until the condition is true; returns what it gave. Fails when it is not true within `seconds`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.02)
    return found


class Services:
    """Starts each server when it is first asked for; `close` ends them."""

    def __init__(self, folder: Path, postgresql: Mapping[str, str] = QUICK) -> None:
        self._folder = folder
        self._postgresql = postgresql  # settings of that server
        self._stack = ExitStack()
        self._urls: dict[str, str] = {}
        self._servers: dict[str, tuple[Server, Process]] = {}
        self._databases = 0

    def close(self) -> None:
        """End every server."""
        self._stack.close()

    def end(self, kind: str) -> None:
        """End this server, as if its host had gone; `again` brings it back with all that it kept."""
        server, process = self._servers[kind]
        stop(process, server.program.stop_signal, END_S)

    def again(self, kind: str) -> None:
        """Start the server where it was."""
        self._start(kind, self._servers[kind][0])

    def redis(self, kind: str) -> str:
        """The URL of an empty `valkey` or `redis` (Debian's redis-server), without a database."""
        if kind not in self._urls:
            binary = None if kind == "valkey" else _installed("redis-server")
            self._start(kind, valkey(self._folder / kind, binary=binary))
        with redis.Redis.from_url(self._urls[kind]) as client:
            client.config_set("notify-keyspace-events", "")
            client.flushall()
        return self._urls[kind]

    def new_database(self) -> str:
        """The URL of a new database with all migrations applied."""
        self._databases += 1
        self._sql(f"CREATE DATABASE test{self._databases} TEMPLATE {TEMPLATE}")
        return _named(self._urls["postgresql"], f"test{self._databases}")

    def drop_database(self) -> None:
        """Drop the newest database, whoever is connected to it."""
        self._sql(f"DROP DATABASE test{self._databases} WITH (FORCE)")

    def _sql(self, statement: str) -> None:
        if "postgresql" not in self._urls:
            self._start("postgresql", postgresql(self._folder / "postgresql", self._postgresql))
            self._sql(f"CREATE DATABASE {TEMPLATE}")
            migrate(_named(self._urls["postgresql"], TEMPLATE))
        with psycopg.connect(self._urls["postgresql"], autocommit=True) as connection:
            connection.execute(statement.encode())

    def _start(self, kind: str, server: Server) -> None:
        log = self._stack.enter_context((self._folder / f"{kind}.log").open("ab"))
        self._stack.callback(server.tidy)
        process = start(server.program, log.fileno())
        self._stack.callback(stop, process, server.program.stop_signal, END_S)
        eventually(lambda: _answers(server) or process.poll() is not None)
        self._urls[kind], self._servers[kind] = server.url, (server, process)


def _answers(server: Server) -> bool:
    try:
        server.check(server.url)
    except Unavailable:
        return False
    return True


def _installed(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"{name} is not installed; `make test` names what is missing"
    return path


def _named(url: str, database: str) -> str:
    return url.replace("/postgres?", f"/{database}?")
