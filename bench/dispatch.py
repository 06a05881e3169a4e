"""What a tick of the dispatcher costs however much waits: `python -m bench.dispatch`.

The leader's own dispatch on a real PostgreSQL (without fsync) and a real Valkey, for workers that are made
up and full. All situations are made first and measured in turns, so that their ratios are of one run.
A job ends by being cancelled before it starts; a like one is submitted in its place.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Leases
from app.coordinator.fleet import Fleet
from app.coordinator.placement.dispatch import Dispatch
from app.coordinator.placement.index import Index
from app.coordinator.stores import Stores
from app.ledger import jobs, open_attempts, waiting
from app.ledger.open_attempts import OpenAttempt
from app.pool.model import JobId, JobSpec
from bench.kit.figures import percentile, publish
from bench.kit.situations import AT_ONCE, BURN, FAILED, SITUATIONS, Situation
from tests.kit.placement_scene import a_beat
from tests.kit.seed import Seed
from tests.kit.services import Services

SLOTS = 4  # of each worker
TICKS = 10  # of each kind, of each situation in its turn
MANY = 100  # slots that become free together
A_SECOND = 1.0
COLUMNS = (
    "ms",
    "pending",
    "nothing free",
    "reasons anew",
    "a slot freed, p50",
    "p99",
    "x the first",
    "100 freed, jobs a second",
    "newcomer waits for slots",
)

HAVE_FAILED = """
    WITH had AS (
        SELECT jobs.id AS job, workers.id AS worker
        FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM jobs WHERE name = %(name)s) jobs
        JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM workers) workers
            ON workers.place = jobs.place %% (SELECT count(*) FROM workers)
    ), tried AS (
        INSERT INTO attempts (job_id, number, worker_id, incarnation, ended_at, end_word, cause)
        SELECT job, 1, worker, 1, now(), 'failed', 'workflow' FROM had
    )
    UPDATE jobs SET attempt = 2, failures = 1, failed_on = ARRAY[had.worker] FROM had WHERE jobs.id = had.job
"""


class Clock:
    """The leader's, which the bench sets forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        """Seconds."""
        return time.monotonic() + self.ahead_s


@dataclass
class Measured:
    """Seconds of ticks of each kind; how many slots had to become free for a newcomer's job."""

    idle: list[float] = field(default_factory=list)
    anew: list[float] = field(default_factory=list)
    freed: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)


class Scene:
    """A leader's dispatch and a full fleet, before which a situation's jobs wait."""

    def __init__(self, seed: Seed, rq: Any, situation: Situation, workers: int) -> None:
        stores = Stores(seed.ledger, seed.redis, rq, seed.keys)
        self.situation, self.found = situation, Measured()
        self._ledger, self._clock = seed.ledger, Clock()
        self._leases, self._envelopes = Leases(stores), Envelopes(rq)
        fleet = Fleet(stores)
        index = Index(stores, fleet)
        self._dispatch = Dispatch(stores, fleet, index, self._leases, self._envelopes, self._clock.now)
        names = [seed.worker(f"render-{number:04d}", gpus=0, slots=SLOTS).id for number in range(workers)]
        self._freed = names[:1] if situation.excluding else names
        fleet.reload()
        for worker in list(fleet.workers.values()):
            fleet.heard(a_beat(worker))
        index.rebuild(whole=True)
        self._held: dict[JobId, OpenAttempt] = {}
        self._fill(workers * SLOTS)
        specs = list(situation.specs(names[0]))
        for first in range(0, len(specs), AT_ONCE):
            self._submit(specs[first:][:AT_ONCE])
        with psycopg.connect(seed.database_url, autocommit=True) as connection:
            connection.execute(HAVE_FAILED, {"name": FAILED})
            connection.execute("VACUUM ANALYZE")  # as autovacuum has done it a minute later
        self.pending = waiting.count(seed.ledger)

    def turn(self) -> None:
        """Measure some ticks of each kind."""
        self._settle()
        for _ in range(TICKS):
            self.found.idle.append(self._step())
        for _ in range(TICKS):
            self._free(1)
            self.found.freed.append(self._step())
            self._refill()
        if not self.situation.excluding:  # there only one worker's slots become free
            self._free(MANY)
            self.found.many.append(self._step() / self._refill())
        self.found.turns.append(self._newcomer())
        self._clock.ahead_s += A_SECOND
        self.found.anew.append(self._step())

    def _fill(self, slots: int) -> None:
        self._submit([JobSpec(BURN, owner="owner0")] * slots)
        while len(self._held) < slots:
            self._step()
            self._held |= self._placed()

    def _submit(self, specs: Sequence[JobSpec]) -> None:
        jobs.submit_all(self._ledger, specs)

    def _step(self) -> float:
        began = time.perf_counter()
        stale = self._dispatch.step(sweep=True)
        took_s = time.perf_counter() - began
        assert not stale, "a worker proved to be other than the leader knew"
        return took_s

    def _settle(self) -> None:
        """Until all reasons are known that are to be asked now: each tick has only so long for that."""
        self._clock.ahead_s += A_SECOND
        for _ in range(TICKS):
            self._step()

    def _free(self, count: int) -> None:
        """The attempts that were given longest ago end."""
        batch = self._leases.batch()
        for each in [each for each in self._held.values() if each.worker in self._freed][:count]:
            del self._held[each.job]
            assert jobs.cancel(self._ledger, each.job)
            self._envelopes.remove(each.worker, each.job, each.attempt)
            batch.released(each.worker, each.job, each.attempt)
        batch.send()

    def _placed(self) -> dict[JobId, OpenAttempt]:
        """What was given since the last look. Raises AssertionError where nothing was."""
        found = {each.job: each for each in open_attempts.held(self._ledger) if each.job not in self._held}
        assert found, "nothing was placed"
        return found

    def _refill(self) -> int:
        """Have as many waiting as before, of the same owners; returns how many were placed."""
        placed = self._placed()
        self._submit([job.spec for each in placed if (job := jobs.find(self._ledger, each))])
        self._held |= placed
        return len(placed)

    def _newcomer(self) -> int:
        """How many slots become free until somebody who comes now, with one job, is given one."""
        spec = JobSpec(BURN, owner=f"newcomer{len(self.found.turns)}")
        mine = jobs.submit(self._ledger, spec).id
        freed = 1
        while mine not in self._freed_one():
            self._refill()
            freed += 1
        self._held |= self._placed()
        return freed

    def _freed_one(self) -> dict[JobId, OpenAttempt]:
        self._free(1)
        self._step()
        return self._placed()


def _row(scene: Scene, base_ms: float) -> list[Any]:
    found = scene.found
    freed_ms = 1000 * statistics.median(found.freed)
    return [
        scene.situation.name,
        scene.pending,
        1000 * statistics.median(found.idle),
        1000 * statistics.median(found.anew),
        freed_ms,
        1000 * percentile(found.freed, 0.99),
        freed_ms / base_ms,
        1 / statistics.median(found.many) if found.many else None,
        max(found.turns),
    ]


def main() -> None:
    """Make every situation, measure them in turns, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.dispatch", description=__doc__)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--turns", type=int, default=10)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-")))
        services = Services(folder)
        stack.callback(services.close)
        url = services.redis("valkey")
        rq = stack.enter_context(redis.Redis.from_url(f"{url}/0"))
        scenes = []
        for number, situation in enumerate(SITUATIONS):
            seed = Seed.into(services.new_database(), f"{url}/1", f"pool{number}:", folder)
            stack.callback(seed.close)
            scenes.append(Scene(seed, rq, situation, asked.workers))
        for _ in range(asked.turns):
            for scene in scenes:
                scene.turn()
    base_ms = 1000 * statistics.median(scenes[0].found.freed)
    title = f"A tick of the dispatcher, {asked.workers} workers of {SLOTS} slots, all full"
    facts = {scene.situation.name: asdict(scene.found) for scene in scenes}
    publish("dispatch", title, COLUMNS, [_row(scene, base_ms) for scene in scenes], facts)


if __name__ == "__main__":
    main()
