"""Simulated workers by the thousand, carried by a few processes (bench/kit/simulated.py).

Real rows in the ledger by the verbs of a join, real beats, claims and ends by the protocol's classes,
real subscriptions, envelopes popped from the workers' own queues. Only the work is not done: an
attempt ends when its time (`seconds` of its parameters) has passed. Those that only beat have a bell and
a connection for beats each; of 10,000 two share the latter, as the server has no more than MOST_CLIENTS.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from redis import Redis

from app.ledger import tokens
from app.ledger.db import Ledger
from app.ledger.registry import joins
from app.pool.agent_http import Offer
from app.pool.codec import plain
from app.pool.model import Gpu, Parameter, Worker, WorkerId, Workflow, new_id
from app.pool.protocol import Beat, GpuFigures, Memory

WORK = Workflow("work", "python", parameters=(Parameter("seconds", "float", default=0.0),), vram_mb=0)
JOINED_AT_ONCE = 200  # in one transaction: joins one by one would take minutes
SMALL_MB, LARGE_MB = 12_288, 24_576
QUIET, AS_AGENTS = "quiet", "agent"  # which connections a worker has of its own; a quiet one takes no jobs
MOST_CLIENTS = 19_000  # a process may not have more than 20,000 files here
ROOM = 1000  # clients beside the workers' own
FEW = 1000  # workers that a server carries as it is


@dataclass(frozen=True)
class Spec:
    """A worker as it will join; its tags are dynamic ones, which its beats say."""

    name: str
    slots: int = 1
    gpus: tuple[Gpu, ...] = ()
    tags: tuple[str, ...] = ()
    workflows: tuple[Workflow, ...] = (WORK,)


@dataclass(frozen=True)
class Told:
    """What a carrying process must know of one worker."""

    worker: WorkerId
    incarnation: int
    slots: int
    gpus: tuple[Gpu, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Setup:
    """What a carrying process is told on its standard input."""

    redis_url: str
    rq_redis_url: str
    prefix: str
    interval_s: float
    connections: str
    sharing: int  # of those that are quiet so many beat through one connection
    workers: tuple[Told, ...]


@dataclass
class Carrier:
    """A process and whom it carries."""

    process: subprocess.Popen[str]
    workers: tuple[WorkerId, ...]

    def tell(self, word: str, worker: WorkerId) -> float:
        """Have it done; the moment when it was (CLOCK_MONOTONIC)."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{word} {worker}\n")
        self.process.stdin.flush()
        return float(self._answer(word))

    def await_ready(self) -> None:
        """Until all that it carries listen and have beaten."""
        self._answer("ready")

    def _answer(self, word: str) -> str:
        assert self.process.stdout
        said, _, rest = self.process.stdout.readline().strip().partition(" ")
        if said != word:
            raise RuntimeError(f"simulated workers ended: expected {word!r}, heard {said!r}")
        return rest


@dataclass
class Simulation:
    """Workers that are alive until told otherwise."""

    workers: tuple[Worker, ...]
    carriers: list[Carrier] = field(default_factory=list)

    def die(self, worker: WorkerId) -> float:
        """Its connections close and its beats stop; when (CLOCK_MONOTONIC)."""
        return self._of(worker).tell("die", worker)

    def fall_silent(self, worker: WorkerId) -> float:
        """Its beats stop, while its connections stay open, as of a frozen process; when (CLOCK_MONOTONIC)."""
        return self._of(worker).tell("silence", worker)

    def _of(self, worker: WorkerId) -> Carrier:
        return next(each for each in self.carriers if worker in each.workers)


def card(name: str, index: int, vram_mb: int) -> Gpu:
    """A GPU of this size; the name makes its UUID."""
    return Gpu(f"GPU-{name}-{index}", index, f"Simulated {vram_mb // 1024} GB", vram_mb)


def specs(count: int, first: int = 0, slots: int = 1, tags: Sequence[str] = ()) -> list[Spec]:
    """So many workers with one GPU each, every second one a large one."""
    names = [f"sim-{first + n:05d}" for n in range(count)]
    sizes = (SMALL_MB, LARGE_MB)
    return [Spec(name, slots, (card(name, 0, sizes[n % 2]),), tuple(tags)) for n, name in enumerate(names)]


def register(ledger: Ledger, wanted: Sequence[Spec]) -> list[Worker]:
    """Their rows, made by the verbs that web uses for a join; in the order of the specs."""
    joined: list[Worker] = []
    for first in range(0, len(wanted), JOINED_AT_ONCE):
        with ledger.transaction() as tx:
            joined += [_join(tx, spec) for spec in wanted[first : first + JOINED_AT_ONCE]]
    return joined


def beat_of(told: Told, seq: int, interval_s: float, ttl_s: float, busy: int = 0, wanted: int = 0) -> Beat:
    """A beat with figures that move a little, as real ones do, and rise with the slots in use."""
    return Beat(
        worker=told.worker,
        incarnation=told.incarnation,
        seq=seq,
        interval_ms=round(interval_s * 1000),
        ttl_ms=round(ttl_s * 1000),
        boot_id=f"boot-{told.worker}",
        slots=told.slots,
        free_slots=told.slots - busy,
        gpus=tuple(_figures(gpu, busy / told.slots) for gpu in told.gpus),
        cpu=round(random.uniform(0.01, 0.05) + 0.5 * busy / told.slots, 3),
        tags=told.tags,
        wanted=wanted,
    )


def sharing_of(quiet: int) -> int:
    """How many of so many quiet workers have to share a connection for beats."""
    return math.ceil(quiet / (MOST_CLIENTS - ROOM - quiet))


@contextmanager
def simulated(
    ledger: Ledger,
    redis_url: str,
    wanted: Sequence[Spec],
    *,
    interval_s: float = 15.0,
    processes: int = 1,
    connections: str = QUIET,
    prefix: str = "pool:",
) -> Iterator[Simulation]:
    """These workers, joined and alive; `redis_url` names no database. They die at the end."""
    joined = register(ledger, wanted)
    told = [
        Told(worker.id, worker.incarnation, spec.slots, spec.gpus, spec.tags)
        for worker, spec in zip(joined, wanted, strict=True)
    ]
    simulation, sharing = Simulation(tuple(joined)), sharing_of(len(told))
    if len(told) > FEW:
        _allow_clients(redis_url)
    try:
        for share in filter(None, (told[n::processes] for n in range(processes))):
            setup = Setup(f"{redis_url}/1", f"{redis_url}/0", prefix, interval_s, connections, sharing, tuple(share))
            simulation.carriers.append(_carrier(setup))
        for carrier in simulation.carriers:
            carrier.await_ready()
        yield simulation
    finally:
        for carrier in simulation.carriers:
            with carrier.process:  # which waits for it and closes what we said and heard through
                carrier.process.kill()


def _allow_clients(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.config_set("maxclients", MOST_CLIENTS)


def _join(tx: Ledger, spec: Spec) -> Worker:
    offer = Offer(
        machine_id=f"machine-{spec.name}",
        boot_id=f"boot-{spec.name}",
        hostname=spec.name,
        name=spec.name,
        slots=spec.slots,
        version="simulated",
        pid=1,
        gpus=spec.gpus,
        workflows=spec.workflows,
    )
    begun = joins.begin(tx, None, offer, tokens.digest(new_id()))
    worker = joins.confirm(tx, begun)
    assert worker is not None, f"{spec.name} has joined before"
    return worker


def _figures(gpu: Gpu, share: float) -> GpuFigures:
    others = 256
    ours = round(share * gpu.vram_mb / 2)
    return GpuFigures(
        uuid=gpu.uuid,
        index=gpu.index,
        model=gpu.model,
        vram_mb=gpu.vram_mb,
        utilisation=round(0.9 * share + random.uniform(0, 0.01), 3),
        memory=Memory(ours, others, gpu.vram_mb - ours - others),
        temperature_c=random.randint(40, 42) + round(30 * share),
        power_w=round(30 + 200 * share + random.uniform(0, 2), 1),
        sm_clock_mhz=1800,
        memory_clock_mhz=9000,
    )


def _carrier(setup: Setup) -> Carrier:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.kit.simulated"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    process.stdin.write(json.dumps(plain(setup)) + "\n")
    process.stdin.flush()
    return Carrier(process, tuple(told.worker for told in setup.workers))
