"""A worker of one's own: speaks the protocol by hand, so that a test decides what it says and when."""

from __future__ import annotations

import itertools
import json
import zlib
from typing import Any

from app.coordinator.stores import Stores
from app.ledger.db import Ledger
from app.pool.codec import from_plain, to_json
from app.pool.keys import envelope_parts, queue
from app.pool.model import Gpu, JobId, Worker, WorkerId
from app.pool.policy import Clocks
from app.pool.protocol import AttemptRef, Beat, GpuFigures, Lease, Memory, Order, Report
from tests.kit.actors import join
from tests.kit.services import eventually


class Peer:
    """One incarnation of a worker that has joined."""

    def __init__(
        self,
        stores: Stores,
        ledger: Ledger,
        name: str = "render-1",
        interval_s: float = 15.0,
        missed_beats: int = 2,
        port: int | None = None,
        gpus: tuple[Gpu, ...] = (),
    ) -> None:
        self.worker: Worker = join(ledger, name, "127.0.0.1" if port else None, port, gpus)
        self.others_mb: dict[str, int] = {}  # what foreign processes use of its cards, by UUID
        self.attempts: dict[JobId, int] = {}
        self.saved_s = 0  # of each attempt
        self.slots = 1
        self.tags: tuple[str, ...] = ()  # dynamic ones
        self.clocks = Clocks(interval_s, missed_beats)
        self._stores = stores
        self._seq = itertools.count(1)

    @property
    def id(self) -> WorkerId:
        return self.worker.id

    def beat(self, leaving: bool = False) -> None:
        """Write a beat of what the worker has."""
        clocks = self.clocks
        refs = tuple(AttemptRef(job, attempt, 0, self.saved_s) for job, attempt in self.attempts.items())
        beat = Beat(
            worker=self.id,
            incarnation=self.worker.incarnation,
            seq=next(self._seq),
            interval_ms=round(clocks.interval_s * 1000),
            ttl_ms=round(clocks.ttl_s * 1000),
            boot_id="boot-1",
            slots=self.slots,
            free_slots=max(0, self.slots - len(refs)),
            attempts=refs,
            gpus=tuple(self._figures(gpu) for gpu in self.worker.gpus),
            tags=self.tags,
            leaving=leaving,
        )
        self._stores.redis.set(self._stores.keys.beat(self.id), to_json(beat), px=beat.ttl_ms)

    def _figures(self, gpu: Gpu) -> GpuFigures:
        others = self.others_mb.get(gpu.uuid, 0)
        return GpuFigures(gpu.uuid, gpu.index, gpu.model, gpu.vram_mb, memory=Memory(0, others, gpu.vram_mb - others))

    def silent(self) -> None:
        """Let the beat expire."""
        self._stores.redis.delete(self._stores.keys.beat(self.id))

    def pop(self) -> Order | None:
        """The next order of the worker's queue, popped as a slot does; None when there is none."""
        popped = self._stores.rq.lpop(f"rq:queue:{queue(self.id)}")
        if popped is None:
            return None
        parts = envelope_parts(popped.decode())
        assert parts is not None
        assert parts[0] == self.id
        data = self._stores.rq.hget(f"rq:job:{popped.decode()}", "data")
        _, _, _, kwargs = json.loads(zlib.decompress(data))
        return from_plain(Order, kwargs["order"])

    def next_order(self) -> Order:
        """The next order, waited for."""
        order = eventually(self.pop)
        assert order is not None
        return order

    def queued(self) -> int:
        """How many envelopes wait."""
        return int(self._stores.rq.llen(f"rq:queue:{queue(self.id)}"))

    def report(self, kind: Any, order: Order | None = None, **rest: Any) -> None:
        """Write a report into the worker's stream."""
        job, attempt = (order.job, order.attempt) if order else (None, 0)
        report = Report(kind, self.id, self.worker.incarnation, job, attempt, **rest)
        self._put(self.id, report)

    def tell_through(self, other: WorkerId, order: Order) -> None:
        """Report an end in another worker's stream, which its Redis user may not."""
        self._put(other, Report("end", self.id, self.worker.incarnation, order.job, order.attempt, end="succeeded"))

    def _put(self, stream: WorkerId, report: Report) -> None:
        self._stores.redis.xadd(self._stores.keys.out(stream), {"report": to_json(report)})

    def claim(self, order: Order, nonce: str = "n1") -> None:
        """Ask whether the attempt may start; it is listed from before the claim is sent."""
        self.attempts[order.job] = order.attempt
        self.beat()
        self.report("claim", order, nonce=nonce)

    def end(self, order: Order, end: str = "succeeded", **rest: Any) -> None:
        """Report the end of an attempt, of which no process is left."""
        self.report("end", order, end=end, **rest)
        self.attempts.pop(order.job, None)

    def lease(self, job: JobId) -> Lease | None:
        """The worker's lease of the job; None without one."""
        return self._stores.live.leases(self.id).get(job)
