"""One placement, at 10 to 10,000 workers: how long the client waits, and how long Redis works on it.

A real Valkey, the real scripts; simulated workers have joined and beat meanwhile (sim.py), and the leader's
own refresh writes their rooms from what ledger and beats say. Server time is commandstats' mean of EVALSHA
over nothing but placements; leases are released between them. The first row is a script that does nothing:
what a call costs on this host.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis

from app.coordinator.fleet import Fleet
from app.coordinator.placement.index import Index
from app.coordinator.placement.place import Place
from app.coordinator.stores import Stores
from app.ledger.db import Ledger
from app.pool.matching import refusal
from app.pool.model import Health, JobId, Requirement, WorkerId, Workflow
from bench import end_to_end
from bench.kit.cases import BURN, CASES, Case, tags_of
from bench.kit.figures import percentile, publish, timed
from bench.kit.sim import LARGE_MB, Spec, card, simulated
from tests.kit.placement_scene import KEYS, PlacementScene
from tests.kit.services import Services

SIZES = (10, 100, 1_000, 10_000)
SLOTS = 2
SETTLE_S = 15.0  # what joining left to be done is done
BATCH = 50
WINDOW = 200  # placements between two releases, at most
WORKFLOW = Workflow("burn", "python", vram_mb=8_000)
COLUMNS = ("", "workers", "a second", "p50 ms", "p99 ms", "server us", "sets read", f"server us each of {BATCH}")


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
    found = {size: _of_size(services, size, placements) for size in sizes}
    rows += [_row(case.name, size, found[size][case.name]) for case in CASES for size in sizes]
    title = "One placement (targets: 100 us of the server; p99 at 10,000 at most 2 x at 10)"
    publish("placement", title, COLUMNS, rows)


def _of_size(services: Services, size: int, placements: int) -> dict[str, Measured]:
    """Every case, on one fleet that is alive at the end too."""
    url, found = services.redis("valkey"), {}
    with (
        redis.Redis.from_url(f"{url}/1", decode_responses=True) as client,
        closing(Ledger.connect(services.new_database())) as ledger,
        simulated(ledger, url, [_spec(number) for number in range(size)], processes=2),
    ):
        time.sleep(SETTLE_S)
        stores = Stores(ledger, client, None, KEYS)
        fleet = _fleet(stores)
        assert len(fleet.beats) == size
        for case in CASES:
            found[case.name] = _measure(_pool(fleet, stores, case), case, placements)
            print(size, case.name, file=sys.stderr, flush=True)
        assert len(stores.live.beats(list(fleet.workers))) == size
    return found


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
        found.waits.append(timed(script)[0])
    _count(client, found)
    return _row("a script that does nothing", 0, found)


def _measure(pool: PlacementScene, case: Case, placements: int) -> Measured:
    found, names, classes = Measured(), itertools.count(), itertools.cycle(case.classes)
    filled = _fill(pool, names) if case.full else []
    window = WINDOW if case.full else max(1, min(WINDOW, _matching(pool, case.classes[0])))
    while found.calls < placements:
        given, begun = [], len(found.waits)
        pool.stores.redis.config_resetstat()
        while len(found.waits) - begun < min(window, placements - found.calls):
            wait_s, place = timed(lambda: _one(pool, next(classes), next(names)))
            found.waits.append(wait_s)
            given += place
        _count(pool.stores.redis, found)
        found.placed += len(given)
        _release(pool, given)
    if case.full:
        assert found.placed == 0, f"{found.placed} were placed on a full fleet"
    else:
        assert found.placed == found.calls, f"{case.name}: {found.placed} of {found.calls} were placed"
        found.batch_us = _batches(pool, case, names)
    _release(pool, filled)
    return found


def _fill(pool: PlacementScene, names: Iterator[int]) -> list[tuple[WorkerId, str]]:
    """Every slot is given away; to whom, and by which jobs."""
    given: list[tuple[WorkerId, str]] = []
    while some := _several(pool, BURN, names):
        given += some
    assert len(given) == SLOTS * len(pool.fleet.workers)
    return given


def _matching(pool: PlacementScene, wish: Requirement) -> int:
    return sum(refusal(worker, wish) is None for worker in pool.fleet.workers.values())


def _one(pool: PlacementScene, wish: Requirement, number: int) -> list[tuple[WorkerId, str]]:
    job = f"{number:012d}"
    return [(place.worker, job) for place in pool.place(wish, job) if isinstance(place, Place)]


def _several(pool: PlacementScene, wish: Requirement, names: Iterator[int]) -> list[tuple[WorkerId, str]]:
    """BATCH of them in one call."""
    jobs = [f"{next(names):012d}" for _ in range(BATCH)]
    places = zip(pool.place(wish, *jobs), jobs, strict=True)
    return [(place.worker, job) for place, job in places if isinstance(place, Place)]


def _batches(pool: PlacementScene, case: Case, names: Iterator[int]) -> float:
    """The server's mean time for one call that places BATCH jobs; 0 where so many have no room."""
    if SLOTS * _matching(pool, case.classes[0]) < BATCH:
        return 0.0
    found = Measured()
    for wish in itertools.islice(itertools.cycle(case.classes), 20):
        pool.stores.redis.config_resetstat()
        given = _several(pool, wish, names)
        _count(pool.stores.redis, found)
        _release(pool, given)
    return found.server_us / found.calls


def _release(pool: PlacementScene, given: Sequence[tuple[WorkerId, str]]) -> None:
    with pool.marks() as batch:
        for worker, job in given:
            batch.released(worker, JobId(job), 1)


def _count(client: Any, found: Measured) -> None:
    stats = client.info("commandstats")
    found.calls += stats["cmdstat_evalsha"]["calls"]
    found.server_us += stats["cmdstat_evalsha"]["usec"]
    found.reads += stats.get("cmdstat_zrange", {"calls": 0})["calls"]


def _spec(number: int) -> Spec:
    name = f"sim-{number:05d}"
    return Spec(name, SLOTS, (card(name, 0, LARGE_MB),), tags_of(number), (WORKFLOW,))


def _fleet(stores: Stores) -> Fleet:
    """What a leader knows of them by their rows and beats."""
    fleet = Fleet(stores)
    fleet.reload()
    for worker, found in stores.live.beats(list(fleet.workers)).items():
        fleet.heard(found.beat)
        fleet.set_health(worker, Health.HEALTHY, None, None)
    return fleet


def _pool(fleet: Fleet, stores: Stores, case: Case) -> PlacementScene:
    """A new leader's sets of this fleet; those of the case before are gone."""
    fleet.policy = replace(fleet.policy, strategy=case.strategy)
    pool = PlacementScene(stores, fleet, Index(stores, fleet))
    pool.index.rebuild(whole=True)
    for wish in case.classes:
        pool.open(wish)
    return pool


if __name__ == "__main__":
    main()
