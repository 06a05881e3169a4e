"""A process that carries many simulated workers (bench/kit/sim.py): one thread, connections that never wait.

A worker here does what an agent does towards Redis: it beats and reads leases and `wanted` in one
pipeline, listens on its bell and asks each 5 s whether that connection lives, pops envelopes as RQ does
(first into the intermediate list), claims through its stream, repeats what is not answered.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import selectors
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import uniform
from secrets import token_hex
from typing import Any

from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.queue import Queue

from agent.attempt.outbox import FIELD
from agent.slot.process import WORKER_TTL_S
from app.pool.codec import from_json, from_plain, to_json
from app.pool.keys import Keys, queue
from app.pool.live import parse_leases
from app.pool.model import JobId
from app.pool.policy import Clocks
from app.pool.protocol import AttemptRef, Lease, LeaseState, Order, Report, Wanted
from app.pool.subscription import PING_S
from bench.kit.line import Line, unheard
from bench.kit.sim import AS_AGENTS, Setup, Told, beat_of

POP_S = WORKER_TTL_S - 15  # RQ's
OVER = (LeaseState.REVOKED, LeaseState.ENDED)


class Timers:
    """What is to be done when, soonest first."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def after(self, seconds: float, do: Callable[[], object]) -> None:
        """Do it so much later."""
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), do))

    def pause_s(self) -> float | None:
        """Until the next one."""
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def step(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()


@dataclass
class Lines:
    """A worker's connections. Those of a quiet one may be shared with others and stay open when it dies."""

    beat: Line
    out: Line
    slots: list[Line]  # each may wait in BLMOVE; where it is shared nobody waits
    kept: list[Line]  # open, as an agent's are, and idle

    def all(self) -> list[Line]:
        """Each once."""
        return [self.beat, self.out, *self.slots, *self.kept]


@dataclass
class Running:
    """An attempt from before its claim is sent until its lease has ended."""

    order: Order
    nonce: str
    report: Report  # what is to be repeated until it is answered
    slot: Line
    accepted: bool = False
    over: bool = False  # its time has passed; the end is reported


class Simulated:
    """One worker."""

    def __init__(
        self, told: Told, setup: Setup, timers: Timers, selector: selectors.BaseSelector, lines: Lines
    ) -> None:
        self._told, self._timers, self._lines = told, timers, lines
        self._keys = Keys(setup.prefix)
        self._bell = Line(setup.redis_url, selector, self._heard)
        self._own = setup.connections == AS_AGENTS
        self._clocks = Clocks(setup.interval_s, 2)
        self._wanted = 0
        self._seq = 0
        self._attempts: dict[JobId, Running] = {}
        self._queue = f"{Queue.redis_queue_namespace_prefix}{queue(told.worker)}"
        self._popped = IntermediateQueue.get_intermediate_queue_key(self._queue)
        self._asked = False  # a beat is due at once
        self._silent = False
        self.beaten = False
        self.listening = False

    def begin(self) -> None:
        """Listen, beat, wait for envelopes."""
        self._bell.listen(self._keys.bell_of(self._told.worker))
        self._beat()
        self._timers.after(uniform(0, self._clocks.interval_s), self._tick)
        self._timers.after(uniform(0, PING_S), self._ping)
        for line in self._lines.slots if self._own else []:
            self._pop(line)

    def die(self) -> None:
        """Its own connections close; nothing of it moves any more."""
        self.fall_silent()
        for line in [self._bell, *(self._lines.all() if self._own else [])]:
            line.close()

    def fall_silent(self) -> None:
        """Stop beating and reporting."""
        self._silent = True

    def _heard(self, message: list[bytes]) -> None:
        """Of its bell: it listens now, was rung, or its connection lives."""
        if message[0] == b"subscribe":
            self.listening = True
        elif message[0] == b"message" and not self._asked:
            self._asked = True
            self._timers.after(0, self._rung)

    def _tick(self) -> None:
        if not self._silent:
            self._beat()
            for running in self._attempts.values():
                self._report(running.report)  # at least once: what is not answered is said again
            self._timers.after(self._clocks.interval_s * uniform(0.9, 1.0), self._tick)

    def _ping(self) -> None:
        if not self._silent:
            self._bell.ping()
            self._timers.after(PING_S, self._ping)

    def _rung(self) -> None:
        self._asked = False
        if not self._silent:
            self._beat()
            if not self._own:
                self._pop(self._lines.slots[0])  # an agent's slots wait for it in Redis

    def _beat(self) -> None:
        self._seq += 1
        busy = sum(not each.over for each in self._attempts.values())
        clocks = self._clocks
        beat = beat_of(self._told, self._seq, clocks.interval_s, clocks.ttl_s, busy, self._wanted)
        refs = tuple(AttemptRef(each.order.job, each.order.attempt, 0) for each in self._attempts.values())
        line, worker = self._lines.beat, self._told.worker
        text = to_json(replace(beat, attempts=refs))
        line.pipeline(
            (("SET", self._keys.beat(worker), text, "PX", beat.ttl_ms), unheard),
            (("HGETALL", self._keys.lease(worker)), self._leased),
            (("HMGET", self._keys.worker(worker), "wanted", "incarnation"), self._obey),
            (("GET", self._keys.generation), self._through),
        )

    def _through(self, _: Any) -> None:
        self.beaten = True

    def _obey(self, found: list[bytes | None]) -> None:
        if found[0]:
            wanted = from_json(Wanted, found[0])
            self._clocks = Clocks(wanted.interval_ms / 1000, wanted.missed_beats)
            self._wanted = wanted.number

    def _leased(self, flat: list[bytes]) -> None:
        words = [word.decode() for word in flat]
        leases = parse_leases(dict(zip(words[0::2], words[1::2])))
        for job, running in list(self._attempts.items()):
            lease = leases.get(job)
            if lease is not None and lease.attempt >= running.order.attempt:
                self._told_of(running, lease)

    def _told_of(self, running: Running, lease: Lease) -> None:
        job = running.order.job
        over = lease.attempt > running.order.attempt or lease.state in OVER
        if over or (lease.state is LeaseState.CLAIMED and lease.nonce != running.nonce):
            del self._attempts[job]
            if running.accepted and not running.over:
                self._end(running, "cancelled" if lease.why == "cancel" else "stopped")
            if not running.over:
                self._pop(running.slot)
            self._changed()
        elif lease.state is LeaseState.CLAIMED and not running.accepted:
            running.accepted = True
            self._timers.after(float(running.order.params.get("seconds", 0)), lambda: self._worked(running))

    def _worked(self, running: Running) -> None:
        if not self._silent and self._attempts.get(running.order.job) is running:
            running.over = True
            self._end(running, "succeeded")
            self._changed()
            self._pop(running.slot)

    def _end(self, running: Running, how: Any) -> None:
        running.report = replace(running.report, kind="end", nonce=None, end=how)
        self._report(running.report)

    def _changed(self) -> None:
        """An agent beats at once when its attempts change."""
        self._timers.after(0, lambda: None if self._silent else self._beat())

    def _pop(self, line: Line) -> None:
        if self._own:
            line.call(
                "BLMOVE", self._queue, self._popped, "LEFT", "RIGHT", POP_S, answered=lambda it: self._took(line, it)
            )
        elif sum(not each.over for each in self._attempts.values()) < self._told.slots:
            line.call("LMOVE", self._queue, self._popped, "LEFT", "RIGHT", answered=lambda it: self._took(line, it))

    def _took(self, line: Line, envelope: bytes | None) -> None:
        if self._silent:
            return
        if envelope is not None:
            key = Job.key_for(envelope.decode())
            line.call("HGET", key, "data", answered=lambda data: self._start(line, envelope, data))
        elif self._own:
            self._pop(line)

    def _start(self, line: Line, envelope: bytes, data: bytes | None) -> None:
        line.call("LREM", self._popped, 0, envelope)
        line.call("DEL", Job.key_for(envelope.decode()))
        if data is None:  # taken back meanwhile
            self._pop(line)
            return
        order = from_plain(Order, json.loads(zlib.decompress(data))[3]["order"])
        nonce = token_hex(8)
        report = Report("claim", self._told.worker, self._told.incarnation, order.job, order.attempt, nonce=nonce)
        self._attempts[order.job] = Running(order, nonce, report, line)
        self._beat()  # it is listed from before its claim is sent
        self._report(report)
        if not self._own:
            self._pop(line)

    def _report(self, report: Report) -> None:
        self._lines.out.call("XADD", self._keys.out(self._told.worker), "*", FIELD, to_json(report))


class Process:
    """All workers of one process, and what its parent says."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._selector = selectors.DefaultSelector()
        self._timers = Timers()
        self._shared = None if setup.connections == AS_AGENTS else self._lines(1)
        self._workers = {told.worker: self._worker(told, number) for number, told in enumerate(setup.workers)}
        self._said = b""

    def run(self) -> None:
        """Until killed, or its parent is gone."""
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ, None)
        for worker in self._workers.values():
            worker.begin()
        ready = False
        while True:
            for key, events in self._selector.select(self._timers.pause_s()):
                if key.data is None:
                    self._obey(os.read(0, 4096))
                elif key.fileobj.fileno() >= 0:  # type: ignore[union-attr]  # not closed a moment ago
                    key.data.ready(events)
            self._timers.step()
            if not ready and all(each.beaten and each.listening for each in self._workers.values()):
                ready = True
                print("ready", flush=True)

    def _worker(self, told: Told, number: int) -> Simulated:
        if self._shared is None:
            lines = self._lines(told.slots)
        else:
            if number % self._setup.sharing == 0:
                self._shared = replace(self._shared, beat=Line(self._setup.redis_url, self._selector))
            lines = self._shared
        return Simulated(told, self._setup, self._timers, self._selector, lines)

    def _lines(self, slots: int) -> Lines:
        """An agent has one of each; each slot one that waits for envelopes and one that RQ listens for commands on."""
        pool, rq = self._setup.redis_url, self._setup.rq_redis_url
        own = self._setup.connections == AS_AGENTS
        kept = [Line(rq, self._selector) for _ in range(slots)] if own else []
        for line in kept:
            line.listen(f"rq:pubsub:{token_hex(8)}")
        return Lines(
            Line(pool, self._selector),
            Line(pool, self._selector),
            [Line(rq, self._selector) for _ in range(slots)],
            kept,
        )

    def _obey(self, said: bytes) -> None:
        if not said:
            raise SystemExit(0)
        *lines, self._said = (self._said + said).split(b"\n")
        for line in lines:
            word, _, id_ = line.decode().partition(" ")
            worker = next(worker for told, worker in self._workers.items() if told == id_)
            {"die": worker.die, "silence": worker.fall_silent}[word]()
            print(word, time.monotonic(), flush=True)


def main() -> None:
    """Read who is carried, and carry them."""
    Process(from_json(Setup, sys.stdin.readline())).run()


if __name__ == "__main__":
    main()
