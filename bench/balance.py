"""How even the load stays, and how near its bound the makespan is: `python -m bench.balance [--loads mixed …]`.

Uniform and mixed jobs on simulated workers, and `burn` on real agents; the three strategies beside a
worker chosen at random for each job, and beside one shared RQ queue, whose workers take whatever
comes (RQ knows no demands) and of which only the queue is real.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from app.ledger import attempts, jobs, policy
from app.ledger.db import Ledger
from app.ledger.registry import workers
from app.pool.model import JobId, JobSpec, JobState, Requirement, WorkerId
from app.pool.policy import STRATEGIES
from bench.beats import bare_pool
from bench.kit.figures import publish
from bench.kit.pool import Pool, pool
from bench.kit.sim import AS_AGENTS, LARGE_MB, SMALL_MB, WORK, simulated, specs

SHORT_S, LONG_S = 2.0, 9.0
UNIFORM_S, EACH = 3.0, 8  # jobs of so long, so many for each worker
MIXED = 16
SEED = 6  # of all that is chosen at random
REAL, REAL_S, USE = 4, 5.0, 0.15  # agents that share these two cores with all else
TAG = "bench:fast"
SETTLE_S = 3.0  # between two rounds: every room says idle again
WAIT_S = 240.0
RANDOM, SHARED = "random choice", "one shared RQ queue"
COLUMNS = ("load", "way", "jobs", "spread, points", "makespan s", "bound s", "ratio")


@dataclass(frozen=True)
class Wish:
    """A job to be: what it demands and how long it takes."""

    requirement: Requirement
    seconds: float


@dataclass(frozen=True)
class Span:
    """When which worker ran something (seconds of the clock that people read)."""

    worker: str
    begun: float
    ended: float


@dataclass(frozen=True)
class Bench:
    """A pool with workers, and the jobs that each round of it runs."""

    load: str
    pool: Pool
    ledger: Ledger
    workers: tuple[WorkerId, ...]
    wishes: tuple[Wish, ...]
    chosen: random.Random = field(default_factory=lambda: random.Random(SEED))

    def row(self, way: str) -> list[object]:
        """One round: run all, and compare."""
        time.sleep(SETTLE_S)
        began, spans = self._shared() if way == SHARED else self._pooled(way)
        makespan = max(span.ended for span in spans) - began
        bound = least_makespan([wish.seconds for wish in self.wishes], len(self.workers))
        spread = 100 * spread_of(spans, len(self.workers), began + min(wish.seconds for wish in self.wishes))
        return [self.load, way, len(self.wishes), spread, makespan, bound, makespan / bound]

    def _pooled(self, way: str) -> tuple[float, list[Span]]:
        if way != RANDOM:
            policy.write(self.ledger, {"strategy": way}, "bench")
            self.pool.ring("settings")
        with self.ledger.transaction() as tx:
            names = [self._submit(tx, wish, way == RANDOM) for wish in self.wishes]
        began = time.time()
        self.pool.ring("jobs")
        self._await(names[-1:] + names)
        ran = [(each, each.started_at, each.ended_at) for job in names for each in attempts.of_job(self.ledger, job)]
        return began, [Span(each.worker, s.timestamp(), e.timestamp()) for each, s, e in ran if s and e]

    def _submit(self, tx: Ledger, wish: Wish, anywhere: bool) -> JobId:
        demand = wish.requirement
        if anywhere:
            demand = replace(demand, only_workers=(self.chosen.choice(self._fitting(demand)),))
        params = {"seconds": wish.seconds, **({} if demand.workflow == WORK.name else {"use": USE, "device": "cpu"})}
        return jobs.submit(tx, JobSpec(demand, params, owner="bench")).id

    def _fitting(self, demand: Requirement) -> Sequence[WorkerId]:
        """By its place among the simulated ones: every second is large, every fourth has the tag."""
        step = 4 if demand.tags else 2 if demand.min_vram_mb else 1
        return self.workers[step - 1 :: step]

    def _await(self, names: Sequence[JobId]) -> None:
        end = time.monotonic() + WAIT_S
        for name in names:
            while (found := jobs.find(self.ledger, name)) is None or found.state is not JobState.SUCCEEDED:
                if time.monotonic() > end:
                    raise TimeoutError(f"{name} has not succeeded: {found}")
                time.sleep(0.2)

    def _shared(self) -> tuple[float, list[Span]]:
        with Redis.from_url(self.pool.redis_url(0)) as client:
            queue = Queue("bench-shared", connection=client, serializer=JSONSerializer)
            calls = [Queue.prepare_data("time.sleep", (wish.seconds,)) for wish in self.wishes]
            lengths = {job.id: job.args[0] for job in queue.enqueue_many(calls)}
            began, spans = time.time(), list[Span]()
            threads = [
                threading.Thread(target=_take, args=(queue, lengths, n, spans)) for n in range(len(self.workers))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return began, spans


def _take(queue: Queue, lengths: dict[str, float], number: int, spans: list[Span]) -> None:
    """A worker of the shared queue, until it is empty."""
    while found := queue.connection.lpop(queue.key):
        begun = time.time()
        assert isinstance(found, bytes)
        time.sleep(lengths[found.decode()])
        spans.append(Span(str(number), begun, time.time()))


def least_makespan(lengths: Sequence[float], slots: int) -> float:
    """No order can be quicker: all slots are busy all the time, and the longest job takes its time."""
    return max(sum(lengths) / slots, *lengths)


def spread_of(spans: Sequence[Span], workers: int, begin: float) -> float:
    """Between the most and the least used worker, from warm-up until the last job begins."""
    end = max(span.begun for span in spans)
    used = {span.worker: 0.0 for span in spans}
    for span in spans:
        used[span.worker] += max(0.0, min(span.ended, end) - max(span.begun, begin))
    idle = [0.0] * (workers - len(used))
    shares = [busy / (end - begin) for busy in (*used.values(), *idle)]
    return max(shares) - min(shares)


@contextmanager
def uniform(count: int) -> Iterator[Bench]:
    """Jobs of one length on simulated workers that are alike."""
    with (
        bare_pool() as (found, ledger),
        simulated(ledger, found.redis_server, specs(count), connections=AS_AGENTS) as sim,
    ):
        wishes = (Wish(Requirement(WORK.name), UNIFORM_S),) * (EACH * count)
        yield Bench(f"uniform, {count} simulated", found, ledger, tuple(w.id for w in sim.workers), wishes)


@contextmanager
def mixed() -> Iterator[Bench]:
    """Short and long ones, some that need a large card or a tag; 16 workers of two sizes, four with the tag."""
    chosen = random.Random(SEED)
    demands = (Requirement(WORK.name), Requirement(WORK.name, min_vram_mb=SMALL_MB + 1024))
    tagged = Requirement(WORK.name, tags=(TAG,))
    wishes = [
        Wish(chosen.choices((*demands, tagged), (65, 20, 15))[0], chosen.choices((SHORT_S, LONG_S), (75, 25))[0])
        for _ in range(EACH * MIXED)
    ]
    wanted = [replace(spec, tags=(TAG,) if n % 4 == 3 else ()) for n, spec in enumerate(specs(MIXED))]
    assert all(spec.gpus[0].vram_mb == LARGE_MB for spec in wanted if spec.tags)
    with bare_pool() as (found, ledger), simulated(ledger, found.redis_server, wanted, connections=AS_AGENTS) as sim:
        yield Bench(f"mixed, {MIXED} simulated", found, ledger, tuple(w.id for w in sim.workers), tuple(wishes))


@contextmanager
def real() -> Iterator[Bench]:
    """`burn` on real agents, for a share of a core each."""
    with pool("--workers", str(REAL)) as found:
        ledger = Ledger.connect(found.database_url)
        wishes = (Wish(Requirement("burn"), REAL_S),) * (EACH * REAL)
        yield Bench(f"burn, {REAL} agents", found, ledger, tuple(w.id for w in workers.listed(ledger)), wishes)
        ledger.close()


LOADS: dict[str, Callable[[], AbstractContextManager[Bench]]] = {
    **{f"uniform-{count}": partial(uniform, count) for count in (4, 16, 64)},
    "mixed": mixed,
    "real": real,
}


def main() -> None:
    """Each load in a pool of its own, in every way."""
    parser = argparse.ArgumentParser(prog="python -m bench.balance", description=__doc__)
    parser.add_argument("--loads", nargs="*", choices=list(LOADS), default=list(LOADS))
    rows: list[list[object]] = []
    for load in parser.parse_args().loads:
        with LOADS[load]() as bench:
            for way in (*STRATEGIES, RANDOM, SHARED):
                rows.append(bench.row(way))
                print(rows[-1], file=sys.stderr, flush=True)
    title = "Spread of utilisation (target on uniform load: at most 5 points) and makespan (target: 1.05 of its bound)"
    publish("balance", title, COLUMNS, rows)


if __name__ == "__main__":
    main()
