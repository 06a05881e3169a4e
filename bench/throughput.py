"""No-op jobs a second, two slots beside plain RQ's two workers; and submissions a second over HTTP.

The rate is that of first steps while more jobs wait than can run: from when all are submitted to the
last. Both take turns on one server; the medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from redis import Redis

from app.ledger import policy
from app.ledger.db import Ledger
from app.pool.codec import from_json
from app.pool.keys import Keys
from app.pool.model import WorkerId
from app.pool.protocol import Wanted
from bench.kit.figures import publish
from bench.kit.marks import Marks, marked_pool
from bench.kit.plain import Plain, plain_rq
from bench.kit.pool import Pool
from tests.kit.services import eventually

SLOTS = 2
CLIENTS = 4
DEPTH = 4
NEVER = "2999-01-01T00:00:00Z"


def main() -> None:
    """So many rounds of so many jobs each way, then submissions alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--submissions", type=int, default=400)
    chosen = parser.parse_args()
    with marked_pool(SLOTS) as (pool, told, environment):
        with plain_rq(pool.redis_url(0), SLOTS, environment) as (plain, _):
            _measure(pool, plain, told, chosen.jobs, chosen.rounds)
        _submissions(pool, chosen.submissions)


def _measure(pool: Pool, plain: Plain, told: Marks, jobs: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {"plain RQ, two workers": [], "Muster, depth 0": [], f"Muster, depth {DEPTH}": []}
    for number in range(rounds):
        rates["plain RQ, two workers"].append(_plain_rate(plain, told, number, jobs))
        for depth in (0, DEPTH):
            _set_depth(pool, depth)
            rates[f"Muster, depth {depth}"].append(_rate(pool, told, jobs))
    base = statistics.median(rates["plain RQ, two workers"])
    rows = [
        [name, len(found), min(found), statistics.median(found), max(found), statistics.median(found) / base]
        for name, found in rates.items()
    ]
    title = "No-op jobs a second (target: at least 0.6 of plain RQ)"
    publish("throughput", title, ["", "rounds", "min", "median", "max", "ratio"], rows, {"jobs": jobs})


def _plain_rate(plain: Plain, told: Marks, number: int, jobs: int) -> float:
    names = [f"plain-{number}-{job}" for job in range(jobs)]
    for name in names:
        plain.enqueue(name)
    submitted_s = time.monotonic()
    begun = told.all_of(names)
    plain.await_idle(SLOTS)
    return _steady(begun, submitted_s)


def _rate(pool: Pool, told: Marks, jobs: int) -> float:
    names, _ = _submit(pool, jobs, {"workflow": "noop"})
    submitted_s = time.monotonic()
    begun = told.all_of(names)
    pool.await_idle()
    return _steady(begun, submitted_s)


def _steady(begun: Sequence[float], submitted_s: float) -> float:
    late = [at for at in begun if at >= submitted_s]
    return (len(late) - 1) / (late[-1] - late[0])


def _submissions(pool: Pool, jobs: int) -> None:
    """Jobs that are not due: they are checked, committed and rung for as all others, and do not run meanwhile."""
    _, seconds = _submit(pool, jobs, {"workflow": "noop", "not_before": NEVER})
    rows = [[f"POST /jobs, {CLIENTS} clients, {jobs} jobs", jobs / seconds]]
    publish("submissions", "Submissions a second over HTTP", ["", "a second"], rows)


def _submit(pool: Pool, jobs: int, body: dict[str, str]) -> tuple[list[str], float]:
    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        names = [job["id"] for job in clients.map(lambda _: pool.call("POST", "/jobs", body), range(jobs))]
    return names, time.monotonic() - began


def _set_depth(pool: Pool, depth: int) -> None:
    ledger = Ledger.connect(pool.database_url, size=1)
    policy.write(ledger, {"queue_depth": depth}, "bench")
    ledger.close()
    pool.ring("settings")
    with Redis.from_url(pool.redis_url(1)) as client:
        eventually(lambda: {wanted.queue_depth for wanted in _wanted(client)} == {depth})


def _wanted(client: Any) -> Iterator[Wanted]:
    """Of every worker, as it was told last."""
    for key in client.keys(Keys("pool:").worker(WorkerId("*"))):
        yield from_json(Wanted, client.hget(key, "wanted"))


if __name__ == "__main__":
    main()
