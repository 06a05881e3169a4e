"""A pool as it would look, made through the ledger's verbs and the protocol: workers that beat, jobs with a past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import redis

from app.ledger import events, investigations, jobs, reports, waiting
from app.ledger.db import Ledger
from app.ledger.investigations import SuspectedCause
from app.ledger.registry import joins, samples, workers
from app.pool.agent_http import Offer
from app.pool.codec import plain, to_json
from app.pool.keys import Keys
from app.pool.model import FileFact, Gpu, Health, Job, JobSpec, Json, Parameter, Requirement, Worker, Workflow
from app.pool.protocol import AttemptRef, Beat, GpuFigures, Memory, Report, Reservation
from app.pool.settings import folder_of_attempt
from tests.kit.logs import write_log

TTL_MS = 600_000  # a seeded worker beats once and shall be live for the whole test
TRANSCODE = Workflow(
    "transcode",
    "python",
    "agent.workflows.transcode:run",
    parameters=(
        Parameter("input", "file", required=True, help="Any file that ffmpeg reads."),
        Parameter("codec", "choice", default="h264", choices=("h264", "hevc"), help="How the picture is encoded."),
        Parameter("crf", "int", default=23, min=0, max=51, help="Lower is better and larger."),
        Parameter("height", "int", min=16, max=4320, help="In pixels; as it is unless named."),
        Parameter("audio", "bool", default=True, help="Keep the sound."),
    ),
    help="Cuts a video into segments, transcodes each, and joins them.",
)
BURN = Workflow("burn", "python", "x:y", parameters=(Parameter("seconds", "float", default=10.0, min=0, max=3600),))


@dataclass(frozen=True)
class Seed:
    """Writes a pool into these stores."""

    ledger: Ledger
    redis: Any
    keys: Keys
    output: Path
    database_url: str

    @classmethod
    def into(cls, database_url: str, redis_url: str, prefix: str, output: Path) -> Seed:
        """A seed of these servers."""
        client = redis.Redis.from_url(redis_url, decode_responses=True)
        return cls(Ledger.connect(database_url, 2), client, Keys(prefix), output, database_url)

    def close(self) -> None:
        """Give the connections back."""
        self.ledger.close()
        self.redis.close()

    def worker(
        self, name: str, gpus: int = 1, host: str | None = None, tags: Sequence[str] = (), slots: int = 1
    ) -> Worker:
        """A worker that has joined."""
        cards = tuple(Gpu(f"GPU-{name}-{n}", n, "NVIDIA GeForce RTX 4090", 24_564) for n in range(gpus))
        offer = Offer(
            machine_id=f"machine of {host or name}",
            boot_id="boot",
            hostname=host or name,
            name=name,
            slots=slots,
            version="0.1.0",
            pid=4711,
            gpus=cards,
            workflows=(TRANSCODE, BURN),
            driver="560.35" if gpus else None,
        )
        join = joins.begin(self.ledger, None, offer, f"sha of {name}")
        worker = joins.confirm(self.ledger, join)
        assert worker is not None
        workers.note(self.ledger, [workers.Note(worker.id, "healthy", tuple(tags), True)])
        return replace(worker, dynamic_tags=tuple(tags))

    def beat(self, worker: Worker, use: float | None = 0.5, running: Sequence[Job] = ()) -> None:
        """Write one beat, with this use of every card."""
        beat = Beat(
            worker=worker.id,
            incarnation=worker.incarnation,
            seq=1,
            interval_ms=15_000,
            ttl_ms=TTL_MS,
            boot_id="boot",
            slots=worker.slots,
            free_slots=worker.slots - len(running),
            attempts=tuple(AttemptRef(job.id, job.attempt, slot) for slot, job in enumerate(running)),
            gpus=tuple(_figures(gpu, use) for gpu in worker.gpus),
            cpu=use,
            tags=worker.dynamic_tags,
        )
        self.redis.set(self.keys.beat(worker.id), to_json(beat), px=TTL_MS)
        word = "-" if use is None else f"{use:.4f}"
        state = f"1 {use or 0:.6f} {word} {len(running) / worker.slots:.4f} {word if worker.gpus else '-'}"
        self.redis.hset(self.keys.worker(worker.id), "state", state)  # as settle.lua writes it
        self.redis.zadd(self.keys.load, {worker.id: use or 0.0})

    def samples(self, worker: Worker, uses: Sequence[float | None]) -> None:
        """Write the worker's use in the last minutes, the oldest first."""
        now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
        with psycopg.connect(self.database_url) as connection:
            for age, use in enumerate(reversed(uses), 1):
                connection.execute(
                    "INSERT INTO worker_samples (worker_id, at, utilisation, load) VALUES (%s, %s, %s, %s)",
                    (worker.id, now - timedelta(minutes=age), use, use),
                )

    def health(self, worker: Worker, to: Health, cause: str) -> Worker:
        """Change the worker's health; returns the worker."""
        assert workers.set_health(self.ledger, worker, to, cause, str(to))
        return replace(worker, health=to, reason=cause)

    def investigate(self, worker: Worker, cause: str, why: str) -> str:
        """Open an investigation of the worker as the coordinator does; returns its id."""
        evidence = {
            "why": why,
            "beat": {"attempts": [{}], "gpus": [plain(_figures(gpu, 0.8)) for gpu in worker.gpus], "gpu_reason": None},
            "samples": [
                {**row, "at": row["at"].isoformat()} for row in samples.of_worker(self.ledger, worker.id, 1800)
            ],
            "ends": [{"job": "j", "number": 1, "end": "failed", "signal": 9, "error": "killed " + "again " * 30}],
        }
        assert investigations.begin(self.ledger, worker.id, worker.incarnation, SuspectedCause(cause), evidence, 1.2)
        return investigations.open_of(self.ledger, [worker.id])[worker.id]

    def job(self, name: str = "", owner: str = "ana", params: Mapping[str, Json] | None = None, **more: Any) -> Job:
        """A job that waits."""
        tags, group = tuple(more.pop("tags", ())), more.pop("group", None)
        needs = Requirement(more.pop("workflow", "transcode"), tags=tags, group=group)
        waiting = more.pop("waiting", None)
        spec = JobSpec(needs, params or {"input": "/srv/clips/reel.mov", "crf": 23}, owner, name, **more)
        return jobs.submit(self.ledger, spec, waiting)

    def run(self, job: Job, worker: Worker, progress: float = 0.0, text: str = "", log: Sequence[str] = ()) -> Job:
        """The job runs there."""
        reserved = Reservation(tuple(gpu.uuid for gpu in worker.gpus))
        assignment = waiting.Assignment(job.id, job.attempt, worker.id, worker.incarnation, reserved)
        assert waiting.assign(self.ledger, [assignment]).keys() == {job.id}
        self.report(job, worker, "claim", nonce="n")
        if progress:
            self.report(job, worker, "progress", number=1, fraction=progress, text=text)
        if log:
            write_log(self.ledger, job, log, worker.id)
        return self.now(job)

    def report(self, job: Job, worker: Worker, kind: Any, **what: Any) -> None:
        """The worker reports of the job's present attempt."""
        told = Report(kind, worker.id, worker.incarnation, job.id, job.attempt, **what)
        with self.ledger.transaction() as tx:
            reports.apply(tx, told)

    def finish(self, job: Job, worker: Worker, files: Mapping[str, bytes], result: Json = None) -> Job:
        """The job has succeeded with these outputs."""
        folder = folder_of_attempt(self.output, job.id, job.attempt)
        folder.mkdir(parents=True, exist_ok=True)
        for name, contents in files.items():
            (folder / name).write_bytes(contents)
        facts = tuple(FileFact(name, len(contents), "ab" * 32) for name, contents in files.items())
        self.report(job, worker, "end", end="succeeded", files=facts, result=result)
        return self.now(job)

    def fail(self, job: Job, worker: Worker, error: str) -> Job:
        """The job's attempt has failed by its own error."""
        self.report(job, worker, "end", end="failed", cause="workflow", error=error, exit_code=1)
        return self.now(job)

    def tell(self, owner: str, sentence: str, job: Job) -> None:
        """The owner is told of the job."""
        events.tell(self.ledger, owner, "job.moved", sentence, about=f"{job.id}:{owner}", job=job.id)

    def now(self, job: Job) -> Job:
        """The job as it is now."""
        found = jobs.find(self.ledger, job.id)
        assert found is not None
        return found


def _figures(gpu: Gpu, use: float | None) -> GpuFigures:
    used = int((use or 0) * 18_000)
    return GpuFigures(
        gpu.uuid,
        gpu.index,
        gpu.model,
        gpu.vram_mb,
        use,
        Memory(used, 1_800, gpu.vram_mb - used - 1_800) if use is not None else Memory(),
        None if use is None else 40 + int(40 * use),
        None if use is None else 60 + 300 * use,
        reason="NVML: not supported" if use is None else None,
    )
