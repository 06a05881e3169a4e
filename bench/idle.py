"""What an agent without jobs costs beside an idle plain RQ worker: CPU, memory, Redis commands.

An agent is main, beat, slot and, with GPUs, the sampler; all of it is counted. Commands are the
server's own counts of each connection, told apart by which process holds its other end.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from bench.kit.figures import publish
from bench.kit.plain import plain_rq
from bench.kit.pool import Pool, cpu_s, descendants, memory_kib, noop_pool

SETTLE_S = 10.0
CONNECTED = "01"  # TCP_ESTABLISHED in /proc/net/tcp


@dataclass(frozen=True)
class Cost:
    """What a set of processes has used so far."""

    cpu_s: float
    commands: dict[str, int]  # of each connection that is open

    def since(self, before: Cost) -> tuple[float, int]:
        """(CPU seconds, commands) between the two."""
        commands = sum(count - before.commands.get(name, 0) for name, count in self.commands.items())
        return self.cpu_s - before.cpu_s, commands


def main() -> None:
    """Look at both, wait, look again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    seconds = parser.parse_args().seconds
    with (
        tempfile.TemporaryDirectory(prefix="muster-bench-") as name,
        noop_pool(1, Path(name), {}) as pool,
        plain_rq(pool.redis_url(0), 1, {}) as (_, workers),
    ):
        agent = descendants(pool.part("-m agent"))
        _measure(pool, {"Muster's agent, one slot": agent, "plain RQ worker": set(workers)}, seconds)


def _measure(pool: Pool, sets: dict[str, set[int]], seconds: float) -> None:
    time.sleep(SETTLE_S)
    with Redis.from_url(pool.redis_url(0), decode_responses=True) as redis:
        before = {name: _cost(redis, pids) for name, pids in sets.items()}
        began = time.monotonic()
        time.sleep(seconds)
        passed_s = time.monotonic() - began
        rows = [_row(name, pids, before[name], _cost(redis, pids), passed_s) for name, pids in sets.items()]
    columns = ["idle", "processes", "CPU s an hour", "PSS MiB", "Redis commands a minute"]
    ratios = [ours / theirs if theirs else None for ours, theirs in zip(*[figures for _, _, *figures in rows])]
    rows.append(["ratio", None, *ratios])
    publish("idle", f"An idle agent, measured for {passed_s:.0f} s", columns, rows)


def _row(name: str, pids: set[int], before: Cost, after: Cost, passed_s: float) -> list[Any]:
    cpu_s, commands = after.since(before)
    pss_mib = sum(memory_kib(pid)["Pss:"] for pid in pids) / 1024
    return [name, len(pids), cpu_s / passed_s * 3600, pss_mib, commands / passed_s * 60]


def _cost(redis: Redis, pids: set[int]) -> Cost:
    ports = {port for pid in pids for port in _ports(pid)}
    clients = {client["id"]: client for client in redis.client_list()}
    counts = {
        name: int(client["tot-cmds"])
        for name, client in clients.items()
        if int(client["addr"].rpartition(":")[2]) in ports
    }
    return Cost(sum(cpu_s(pid) for pid in pids), counts)


def _ports(pid: int) -> set[int]:
    """The local ports of its connections."""
    links = (link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir())
    inodes = {name[8:-1] for name in links if name.startswith("socket:[")}
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == CONNECTED and fields[9] in inodes:
            found.add(int(fields[1].rpartition(":")[2], 16))
    return found


if __name__ == "__main__":
    main()
