"""Pools that the browser tests look at."""

from __future__ import annotations

from dataclasses import dataclass

from app.ledger import groups, jobs, open_attempts
from app.ledger.registry import workers
from app.pool.model import Health, Job, WaitingFor, WaitingReason, Worker
from tests.kit.seed import Seed

LONG = "render-farm-basement-rack-03-left-of-the-coffee-machine.studio.internal.example"
GROUP = "those-that-stand-in-the-basement-beside-the-coffee-machine:2026+"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf50070003018101cbae1fc40000000049454e44ae426082"
)


@dataclass(frozen=True)
class Studio:
    """A pool of six with something of everything."""

    busy: Worker
    down: Worker
    running: Job
    waiting: Job
    moved: Job
    done: Job
    failed: Job
    investigation: str  # of the one that is down


def studio(seed: Seed) -> Studio:
    """Six workers: busy, idle, without a figure, without a GPU, degraded and down; jobs in every state."""
    busy = seed.worker("render-01", gpus=2, tags=("high-vram", "model:sdxl"), slots=2)
    idle = seed.worker("render-02", tags=("low-vram",))
    blind = seed.worker("render-03", tags=("optix",))
    plain = seed.worker("encode-01", gpus=0)
    slow = seed.worker("render-04", tags=("high-vram", "optix", "cuda-12", "nvenc", "av1", "model:flux"))
    down = seed.worker("render-05")
    seed.samples(down, [0.7, 0.8, 0.85, 0.8, 0.9, 0.95, 0.9])
    investigation = seed.investigate(down, "process killed", "its host answers, but its process is gone")
    moved = _moved(seed, down, busy)
    running = seed.run(
        seed.job("Opening reel"), busy, 0.42, "segment 5 of 12", [f"frame {n} of 1200" for n in range(1, 60)]
    )
    done = seed.run(seed.job("Title still"), idle, 0.9, log=["joined", "wrote still.png"])
    done = seed.finish(done, idle, {"still.png": PIXEL, "notes <1>.txt": b"as ordered"}, {"frames": 240})
    failed = seed.run(seed.job("Broken clip", max_failures=1), idle, 0.1)
    failed = seed.fail(failed, idle, "Traceback (most recent call last):\nValueError: moov atom not found")
    cancelled = seed.job("Second thoughts")
    jobs.cancel(seed.ledger, cancelled.id)
    reason = WaitingReason(WaitingFor.WORKER, "6 workers: 6 lack h100")
    waiting = seed.job("Night batch", tags=("h100",), waiting=reason)
    seed.beat(busy, 0.83, [running, moved])
    seed.beat(idle, 0.02)
    seed.beat(blind, None)
    seed.beat(plain, 0.31)
    seed.samples(busy, [0.1, 0.2, 0.9, 0.8, 0.85, 0.9, 0.7, 0.8, 0.82])
    seed.samples(idle, [0.4, 0.5, 0.45, None, None, None, 0.1, 0.05, 0.02])
    seed.health(slow, Health.DEGRADED, "no heartbeat for 35 s")
    return Studio(busy, down, running, waiting, moved, done, failed, investigation)


def _moved(seed: Seed, lost: Worker, to: Worker) -> Job:
    job = seed.run(seed.job("Trailer, final cut", params={"input": "/srv/a.mov", "api_token": "hunter2"}), lost, 0.5)
    seed.report(job, lost, "checkpoint", number=3, fraction=0.4, state={"segment": 3})
    seed.health(lost, Health.DOWN, "its process was killed by SIGKILL")
    open_attempts.take_away_all(seed.ledger, lost.id, "render-05 went down: its process was killed by SIGKILL")
    return seed.run(seed.now(job), to, 0.55, "segment 6 of 10")


def crowd(seed: Seed, count: int) -> None:
    """So many workers, all busy, with names as long as they come."""
    for number in range(count):
        worker = seed.worker(
            f"worker-{number:02d}-{LONG}"[:63],
            gpus=(1, 4, 0)[number % 3],
            host=LONG,
            tags=("a-tag-that-somebody-thought-should-explain-everything-about-it", "gpu", "b", "c", "d"),
        )
        job = seed.job("A job with quite a long name that nobody shortened when it was submitted", owner=LONG)
        seed.run(job, worker, 0.3, "doing one thing after the other, as described at length in this text")
        seed.beat(worker, number / max(1, count - 1), [job])
        seed.samples(worker, [0.1, 0.9, 0.3, 0.7])
    grouped(seed, *workers.listed(seed.ledger), name=GROUP)


def grouped(seed: Seed, *members: Worker, name: str = "farm") -> None:
    """A group of these, which a job waits for."""
    assert groups.create(seed.ledger, name, "round-robin")
    groups.fill(seed.ledger, name, [worker.id for worker in members], "admin")
    seed.job("Bound to a group", group=name, waiting=WaitingReason(WaitingFor.SLOT, "waits for a free slot"))
