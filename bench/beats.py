"""What a quiet fleet costs: `python -m bench.beats [--workers 1000 10000] [--seconds 60]`.

CPU of server and coordinator, how long the server ever keeps a client waiting, memory, what a worker's
connections take, and how soon a dead one among all is noticed; beats a second beside plain SET
(beat_rate.py). Workers are simulated, one process carries thousands (sim.py says which connections they
have); the pool is a real one.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from app.ledger.db import Ledger
from app.ledger.registry import workers
from app.pool.model import Health, WorkerId
from bench import beat_rate
from bench.kit.figures import percentile, publish
from bench.kit.pool import Pool, cpu_s, descendants, memory_kib, pool
from bench.kit.sim import AS_AGENTS, QUIET, Simulation, simulated, specs
from tests.kit.processes import command_line

FLEETS = (1000, 10_000)
SETTLE_S = 40.0  # all have beaten twice since the last one joined
PROBE_S = 0.001
SLOW_US = 1000
AS_REAL = 1500  # workers with all connections of an agent
WAIT_S = 120.0
DEATHS = 5
PARTS = {"server (Valkey)": "valkey", "coordinator": "app coordinator", "PostgreSQL": "postgres"}
COST = ("workers", "process", "CPU, % of a core", "PSS MiB")
STALL = ("workers", "commands a second", "PING p50 ms", "p99 ms", "p99.9 ms", "max ms", "slowest command ms")
NOTICED = ("workers", "what", "n", "min s", "max s")
TAKEN = ("workers", "connections a worker", "Redis KiB a worker", "of them for connections")


@dataclass
class Probe:
    """A second client that asks a thousand times a second whether the server answers."""

    url: str
    waits_s: list[float] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """In a thread, until the end."""
        end = threading.Event()
        thread = threading.Thread(target=self._run, args=(end,))
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def _run(self, end: threading.Event) -> None:
        with Redis.from_url(self.url) as client:
            while not end.wait(PROBE_S):
                asked = time.monotonic()
                client.ping()
                self.waits_s.append(time.monotonic() - asked)


@dataclass
class Figures:
    """Rows of the tables."""

    cost: list[list[Any]] = field(default_factory=list)
    stall: list[list[Any]] = field(default_factory=list)
    noticed: list[list[Any]] = field(default_factory=list)
    taken: list[list[Any]] = field(default_factory=list)

    def publish(self) -> None:
        """Print and write what there is."""
        for name, title, columns, rows in (
            ("cost", "A quiet fleet (target at 10,000: under 10 % of a core each)", COST, self.cost),
            ("stall", "How long the server keeps a client waiting", STALL, self.stall),
            ("noticed", "Until a dead worker among all is noticed", NOTICED, self.noticed),
            ("taken", "What a worker takes of Redis", TAKEN, self.taken),
        ):
            if rows:
                publish(f"beats-{name}", title, columns, rows)


def measure(found: Pool, ledger: Ledger, count: int, seconds: float, figures: Figures) -> None:
    """Everything about a fleet of so many."""
    with Redis.from_url(found.redis_url(1)) as client:
        began = time.monotonic()
        names = specs(count, first=count)  # apart from those of other fleets
        with simulated(ledger, found.redis_server, names, processes=2, connections=QUIET) as sim:
            print(f"{count} workers joined and beat after {time.monotonic() - began:.0f} s", file=sys.stderr)
            time.sleep(SETTLE_S)
            figures.cost += _cost(found, sim, seconds)
            figures.stall.append(_stall(found, client, count, seconds))
            figures.noticed += _noticed(ledger, sim)


def take(found: Pool, ledger: Ledger, count: int, figures: Figures) -> None:
    """Connections and memory of Redis, a worker, with every connection that an agent has."""
    with Redis.from_url(found.redis_url(1)) as client:
        before, clients = client.info("memory"), client.info("clients")["connected_clients"]
        names = specs(count, first=90_000)
        with simulated(ledger, found.redis_server, names, processes=2, connections=AS_AGENTS):
            time.sleep(SETTLE_S)
            after = client.info("memory")
            opened = client.info("clients")["connected_clients"] - clients
        kib = (after["used_memory"] - before["used_memory"]) / 1024 / count
        for_clients = (after["mem_clients_normal"] - before["mem_clients_normal"]) / 1024 / count
        figures.taken.append([count, opened / count, kib, for_clients])


def _cost(found: Pool, sim: Simulation, seconds: float) -> list[list[Any]]:
    pids = {name: _pids(found, words) for name, words in PARTS.items()}
    pids["simulated workers"] = {carrier.process.pid for carrier in sim.carriers}
    before, began = {name: _cpu_s(some) for name, some in pids.items()}, time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - began
    used = {name: (_cpu_s(some) - before[name]) / took_s for name, some in pids.items()}
    rows = [[len(sim.workers), name, 100 * used[name], _pss_mib(some)] for name, some in pids.items()]
    print(rows, file=sys.stderr, flush=True)
    return rows


def _stall(found: Pool, client: Any, workers: int, seconds: float) -> list[Any]:
    """Apart from the cost: a thousand questions a second are not free."""
    client.config_set("slowlog-log-slower-than", SLOW_US)
    client.slowlog_reset()
    commands = client.info("stats")["total_commands_processed"]
    probe = Probe(found.redis_url(1))
    with probe.running():
        time.sleep(seconds)
    slow = client.slowlog_get(128)
    commands = client.info("stats")["total_commands_processed"] - commands - len(probe.waits_s)
    for each in slow[:10]:
        print(f"slow: {each['duration'] / 1000:.1f} ms {each['command'][:60]!r}", file=sys.stderr)
    waits_ms = [1000 * percentile(probe.waits_s, share) for share in (0.5, 0.99, 0.999, 1)]
    slowest_ms = max((each["duration"] / 1000 for each in slow), default=None)
    return [workers, commands / seconds, *waits_ms, slowest_ms]


def _noticed(ledger: Ledger, sim: Simulation) -> list[list[Any]]:
    """By its lost presence, without an address to ask; and by silence alone."""
    count, victims = len(sim.workers), iter(sim.workers[len(sim.workers) // 2 :])
    lost = []
    for _ in range(DEATHS):
        dead = next(victims).id
        at = sim.die(dead)
        lost.append(_until(ledger, dead, Health.DOWN) - at)
    frozen = next(victims).id
    at = sim.fall_silent(frozen)
    silent = {health: _until(ledger, frozen, health) - at for health in (Health.DEGRADED, Health.DOWN)}
    return [
        [count, "dies, has no address: down", len(lost), min(lost), max(lost)],
        *([count, f"freezes: {health}", 1, seconds, seconds] for health, seconds in silent.items()),
    ]


def _until(ledger: Ledger, worker: WorkerId, health: Health) -> float:
    """When the ledger says so (CLOCK_MONOTONIC). Raises TimeoutError."""
    end = time.monotonic() + WAIT_S
    while (found := workers.find(ledger, worker)) is None or found.health is not health:
        if time.monotonic() > end:
            raise TimeoutError(f"{worker} is not {health} after {WAIT_S} s")
        time.sleep(0.01)
    return time.monotonic()


def _pids(found: Pool, words: str) -> set[int]:
    return {pid for pid in descendants(found.process.pid) if words in command_line(pid)}


def _cpu_s(pids: set[int]) -> float:
    return sum(cpu_s(pid) for pid in pids)


def _pss_mib(pids: set[int]) -> float:
    kib = 0
    for pid in pids:
        with suppress(OSError):  # a connection of PostgreSQL has ended meanwhile
            kib += memory_kib(pid)["Pss:"]
    return kib / 1024


def main() -> None:
    """Each fleet in a pool of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.beats", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", help="fleets of so many only; none: what one worker takes")
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    figures = Figures()
    for count in FLEETS if asked.workers is None else asked.workers:
        with bare_pool() as (found, ledger):
            measure(found, ledger, count, asked.seconds, figures)
    if not asked.workers:
        with bare_pool() as (found, ledger):
            take(found, ledger, AS_REAL, figures)
        with bare_pool() as (found, _):  # one whose coordinator has no dead workers to bury meanwhile
            beat_rate.measure(found.redis_url(1), found.part("valkey"))
    figures.publish()


@contextmanager
def bare_pool() -> Iterator[tuple[Pool, Ledger]]:
    """A pool without agents, and its ledger."""
    with pool("--no-agent") as found:
        ledger = Ledger.connect(found.database_url)
        yield found, ledger
        ledger.close()


if __name__ == "__main__":
    main()
