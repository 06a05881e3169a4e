"""One placement, at 10 to 10,000 workers: how long the client waits, and how long Redis works on it.

A real Valkey, the real scripts, rooms written by the leader's own refresh of workers and beats in memory.
Server time is commandstats' mean of EVALSHA over nothing but placements; leases are released between them.
The first row is a script that does nothing: what a call costs on this host.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis

from app.pool.model import JobId, Requirement, Worker, WorkerId, Workflow
from bench import end_to_end
from bench.figures import percentile, publish
from tests.fleet import Pool, a_beat, a_worker, want
from tests.services import Services

SIZES = (10, 100, 1_000, 10_000)
BATCH = 50
WINDOW = 200  # placements between two releases, at most
TAGS = tuple(f"tag{number}" for number in range(100))
MODELS = tuple(f"model:{number}" for number in range(20))
BURN = Requirement("burn")
COLUMNS = ("", "workers", "a second", "p50 ms", "p99 ms", "server us", "sets read", f"server us each of {BATCH}")


@dataclass(frozen=True)
class Case:
    """What workers there are, and which classes of jobs are placed on them in turn."""

    name: str
    tags: Callable[[int], Sequence[str]] = lambda _: ()
    classes: Sequence[Requirement] = (BURN,)
    strategy: str = "least-loaded"
    full: bool = False


def _half(number: int) -> Sequence[str]:
    return ("half",) * (number % 2)


def _few(number: int) -> Sequence[str]:
    return ("a", "b", "c") if number % 100 == 0 else ("a",) * (number % 2)


def _four(number: int) -> Sequence[str]:
    return tuple(f"kind{bit}" for bit in range(4) if number >> bit & 1)


CASES = (
    Case("no tags"),
    Case("one required tag, held by half", _half, [replace(BURN, tags=("half",))]),
    Case("three required tags, held by 1 %", _few, [replace(BURN, tags=("a", "b", "c"))]),
    Case("two preferred tags", _four, [replace(BURN, prefers=(("kind0", 1.0), ("kind1", 0.5)))]),
    Case("the whole fleet full", full=True),
    Case("100 classes, every worker in all", lambda _: TAGS, [replace(BURN, tags=(tag,)) for tag in TAGS]),
    Case(
        "the same, 16 kinds of workers",
        lambda number: (*TAGS, *_four(number)),
        [replace(BURN, tags=(tag,), prefers=((f"kind{n % 4}", 1.0),)) for n, tag in enumerate(TAGS)],
    ),
    Case(
        "20 classes, each prefers a model; 3 models a worker",
        lambda number: random.Random(number).sample(MODELS, 3),
        [replace(BURN, prefers=((model, 1.0),)) for model in MODELS],
    ),
    Case("round-robin, two preferred tags", _four, [replace(BURN, prefers=(("kind0", 1.0),))], "round-robin"),
    Case("capability-first, tags and preferred ones", _four, [replace(BURN, tags=("kind0",))], "capability-first"),
)


@dataclass
class Measured:
    """What single placements and batches took; seconds, and microseconds of server time."""

    waits: list[float] = field(default_factory=list)
    calls: int = 0
    server_us: float = 0.0
    reads: int = 0
    placed: int = 0
    batch_us: float = 0.0


def main() -> None:
    """Every case at every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--placements", type=int, default=500, help="single ones, in each case at each size")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="workers; none: only from end to end")
    parser.add_argument("--jobs", type=int, default=2_000, help="from end to end, in each round; 0: not measured")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder, closing(Services(Path(folder), {})) as services:
        if chosen.sizes:
            _placements(services, chosen.sizes, chosen.placements)
        if chosen.jobs:
            found = end_to_end.rows(services, chosen.jobs, chosen.rounds)
            publish("end_to_end", "Jobs a second, placed, assigned and put", end_to_end.COLUMNS, found)


def _placements(services: Services, sizes: Sequence[int], placements: int) -> None:
    with redis.Redis.from_url(f"{services.redis('valkey')}/1", decode_responses=True) as client:
        rows = [_nothing(client, placements)]
        rows += [_row(case.name, size, _measure(client, case, size, placements)) for case in CASES for size in sizes]
    title = "One placement (targets: 100 us of the server; p99 at 10,000 at most 2 x at 10)"
    publish("placement", title, COLUMNS, rows)


def _row(name: str, size: int, found: Measured) -> list[Any]:
    mean_s = sum(found.waits) / len(found.waits)
    return [
        name,
        size,
        1 / mean_s,
        1_000 * percentile(found.waits, 0.5),
        1_000 * percentile(found.waits, 0.99),
        found.server_us / found.calls,
        found.reads / found.calls,
        found.batch_us / BATCH if found.batch_us else None,
    ]


def _nothing(client: Any, placements: int) -> list[Any]:
    script, found = client.register_script("return 1"), Measured()
    script()
    client.config_resetstat()
    for _ in range(placements):
        found.waits.append(_timed(script)[0])
    _count(client, found)
    return _row("a script that does nothing", 0, found)


def _measure(client: Any, case: Case, size: int, placements: int) -> Measured:
    pool, found, names = _pool(client, case, size), Measured(), itertools.count()
    classes = itertools.cycle(case.classes)
    window = WINDOW if case.full else max(1, min(WINDOW, _matching(pool, case.classes[0])))
    while found.calls < placements:
        given, begun = [], len(found.waits)
        client.config_resetstat()
        while len(found.waits) - begun < min(window, placements - found.calls):
            wait_s, place = _timed(lambda: _one(pool, next(classes), next(names)))
            found.waits.append(wait_s)
            given += place
        _count(client, found)
        found.placed += len(given)
        _release(pool, given)
    if not case.full:
        assert found.placed == found.calls, f"{case.name}: {found.placed} of {found.calls} were placed"
        found.batch_us = _batches(pool, case, size, names)
    return found


def _matching(pool: Pool, wish: Requirement) -> int:
    return sum(set(wish.tags) <= set(worker.tags) for worker in pool.fleet.workers.values())


def _one(pool: Pool, wish: Requirement, number: int) -> list[tuple[WorkerId, str]]:
    job = f"{number:012d}"
    return [(place.worker, job) for place in pool.place(wish, job) if place]


def _batches(pool: Pool, case: Case, size: int, names: Iterator[int]) -> float:
    """The server's mean time for one call that places BATCH jobs; 0 where so many have no room."""
    if 2 * _matching(pool, case.classes[0]) < BATCH:
        return 0.0
    found = Measured()
    for wish in itertools.islice(itertools.cycle(case.classes), 20):
        jobs = [f"{next(names):012d}" for _ in range(BATCH)]
        pool.stores.redis.config_resetstat()
        places = pool.place(wish, *jobs)
        _count(pool.stores.redis, found)
        _release(pool, [(place.worker, job) for place, job in zip(places, jobs, strict=True) if place])
    return found.server_us / found.calls


def _release(pool: Pool, given: Sequence[tuple[WorkerId, str]]) -> None:
    with pool.marks() as batch:
        for worker, job in given:
            batch.released(worker, JobId(job), 1)


def _count(client: Any, found: Measured) -> None:
    stats = client.info("commandstats")
    found.calls += stats["cmdstat_evalsha"]["calls"]
    found.server_us += stats["cmdstat_evalsha"]["usec"]
    found.reads += stats.get("cmdstat_zrange", {"calls": 0})["calls"]


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = act()
    return time.perf_counter() - began, answer


def _pool(client: Any, case: Case, size: int) -> Pool:
    """A leader with so many workers of two slots, whose classes are open."""
    client.flushall()
    pool = Pool.on(client)
    pool.fleet.policy = replace(pool.fleet.policy, strategy=case.strategy)
    for number in range(size):
        worker = _worker(number, case)
        pool.fleet.workers[worker.id], pool.fleet.beats[worker.id] = worker, a_beat(worker)
    pool.eligible.rebuild(whole=True)
    for wish in case.classes:
        pool.open(wish)
    if case.full:
        for first in range(0, 2 * size, BATCH):
            pool.place(BURN, *(want(f"full{first + number:08d}") for number in range(min(BATCH, 2 * size - first))))
    return pool


def _worker(number: int, case: Case) -> Worker:
    offers = (Workflow("burn", "python", vram_mb=8_000),)
    return a_worker(f"{number:012d}", (24_576,), slots=2, tags=tuple(case.tags(number)), workflows=offers)


if __name__ == "__main__":
    main()
