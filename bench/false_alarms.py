"""How often a healthy worker is doubted: `python -m bench.false_alarms [--agents 20] [--seconds 600]`.

Real agents, niced like their jobs, with every core kept busy by others as nice as they are; and apart
from them simulated ones, which only beat. Every degraded or down of a worker that nobody touched is a
false alarm; the bound is the exact one of a Poisson count at 95 %.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from app.coordinator.stores import Stores
from app.pool.keys import Keys
from bench.figures import publish
from tests.peer import Peer
from tests.services import Services
from tests.site import Site, new_site

NICE = ("nice", "-n", "10")
SPIN = "while True: pass"
COLUMNS = ("workers", "n", "seconds", "beats", "marked", "per worker-hour", "95 % below", "share of beats below")
NAMES = {"real agents": "render-%", "simulated": "simulated-%"}


@contextmanager
def busy_cores() -> Iterator[None]:
    """Every core has somebody else to serve."""
    spinning = [subprocess.Popen([*NICE, sys.executable, "-c", SPIN]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def watch(site: Site, agents: int, simulated: int, seconds: float) -> list[list[Any]]:
    """Start them, let the time pass, count."""
    site.before = NICE
    for _ in range(agents):
        site.starting()
    for agent in site.agents:
        agent.healthy(120)
    stores = Stores(
        site.ledger, redis.Redis.from_url(f"{site.redis_url}/1", decode_responses=True), redis.Redis(), Keys("pool:")
    )
    peers: list[Peer] = []
    for n in range(simulated):
        peers.append(Peer(stores, site.ledger, f"simulated-{n}", site.interval_s))
        _beat(peers[-1:], 0, site.interval_s)
    _beat(peers, site.interval_s, site.interval_s)  # their starts are not what is measured
    for pattern in NAMES.values():
        print("before it began:", _marked(site, pattern, 0), pattern, file=sys.stderr)
    first = int(site.rows("SELECT coalesce(max(id), 0) AS id FROM worker_transitions")[0]["id"])
    with busy_cores():
        began = time.monotonic()
        _beat(peers, seconds, site.interval_s)
        took_s = time.monotonic() - began
    marked = {word: _marked(site, pattern, first) for word, pattern in NAMES.items()}
    counts = {"real agents": agents, "simulated": simulated}
    return [_row(word, counts[word], took_s, marked[word], site.interval_s) for word in NAMES if counts[word]]


def _beat(peers: list[Peer], seconds: float, interval_s: float) -> None:
    """Let the simulated ones beat in turn, each once an interval, for so long; once at least."""
    end = time.monotonic() + seconds
    while True:
        round_ends = time.monotonic() + interval_s * 0.95
        for number, peer in enumerate(peers):
            peer.beat()
            left_s = round_ends - time.monotonic()
            time.sleep(max(0.0, left_s / (len(peers) - number)) if seconds else 0.0)
        if time.monotonic() >= end:
            return
        if not peers:
            time.sleep(interval_s)


def _marked(site: Site, pattern: str, after: int) -> int:
    found = site.rows(
        "SELECT count(*) AS n FROM worker_transitions t JOIN workers w ON w.id = t.worker_id"
        f" WHERE w.name LIKE '{pattern}' AND t.id > {after} AND t.to_health IN ('degraded', 'down')"
    )
    return int(found[0]["n"])


def _row(word: str, workers: int, seconds: float, marked: int, interval_s: float) -> list[Any]:
    hours, beats = workers * seconds / 3600, workers * seconds / interval_s
    most = bound(marked)
    return [word, workers, seconds, beats, marked, marked / hours, most / hours, most / beats]


def bound(count: int) -> float:
    """The mean of a Poisson variable above which so few events come in at most 5 of 100 cases."""
    low, high = 0.0, 10.0 + 3 * count
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(math.exp(-middle) * middle**k / math.factorial(k) for k in range(count + 1))
        low, high = (middle, high) if below > 0.05 else (low, middle)
    return high


def main() -> int:
    """Print the table; 1 when anybody was marked."""
    parser = argparse.ArgumentParser(prog="python -m bench.false_alarms", description=__doc__)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--simulated", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--interval", type=float, default=15)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-")))
        services = Services(folder)
        stack.callback(services.close)
        site = stack.enter_context(new_site(folder / "site", services, None, asked.interval))
        rows = watch(site, asked.agents, asked.simulated, asked.seconds)
    title = f"Healthy workers that were doubted, every core busy, a beat every {asked.interval:g} s"
    publish(f"false_alarms-{asked.interval:g}", title, COLUMNS, rows)
    return 1 if any(row[4] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
