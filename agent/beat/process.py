"""The beat process: writes the heartbeat and moves the deadlines on; no job and no GPU call delays it.

`python -m agent.beat.process <fd> <main's pid>`. Main pulses it with what runs; without a pulse for half an
interval it stops beating, so that a main that hangs is not shown as alive.

The order within a beat is what makes deadlines safe. The clock is read first, then the beat is sent, and only when
Redis has answered do the deadlines move on, to times counted from the clock as it was read. So whatever delays the
beat, attempts here end no later than the pool believes, which counts from when the beat arrived. After a silence that
is longer than the beat's time to live the process first asks whether another incarnation has taken its place: a beat
would hide that one's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from random import uniform

import redis

from agent.beat.directives import as_number, ask, understand
from agent.ipc.deadline import DeadlineWriter
from agent.ipc.link import Link, Message
from agent.processes import boottime_ns, die_with_parent
from agent.redis_client import LEAST_TIMEOUT_S, connect
from app.pool import faults
from app.pool.backoff import Backoff, Outage
from app.pool.codec import from_plain, to_json
from app.pool.keys import Keys
from app.pool.model import JobId, WorkerId
from app.pool.policy import Clocks
from app.pool.protocol import Beat, Wanted

log = logging.getLogger(__name__)

SILENCED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # are for main, which lets the beat stop last
MOST_PAUSE_S = 1.0  # between tries, however long the interval is


@dataclass(frozen=True)
class Begin:
    """Main's first message to the beat process."""

    redis_url: str
    prefix: str
    worker: WorkerId
    incarnation: int
    boot_id: str
    deadline_fd: int
    wanted: Wanted


class Heartbeat:
    """The heartbeat of one incarnation, until main is gone or another incarnation has taken its place."""

    def __init__(self, link: Link, begin: Begin) -> None:
        self._link = link
        self._begin = begin
        self._keys = Keys(begin.prefix)
        self._deadline = DeadlineWriter(begin.deadline_fd)
        self._clocks = clocks_of(begin.wanted)
        self._max_orphan_s = begin.wanted.max_orphan_s
        self._client = connect(begin.redis_url, max(LEAST_TIMEOUT_S, self._clocks.interval_s / 3))
        self._pulse: Message | None = None
        self._seq = 0
        self._lost = Outage(log, "beats do not get through")
        self._next = 0.0
        self._starved = False
        self._slots = 0  # as the last beat said
        self._through_ns = boottime_ns()

    def run(self) -> None:
        """Beat until main closes its end of the line."""
        while not self._link.gone:
            select.select([self._link], [], [], max(0.0, self._next - time.monotonic()))
            self._hear()
            if time.monotonic() >= self._next:
                self._step()
            self._link.flush()

    def _hear(self) -> None:
        for message in self._link.receive():
            if message["m"] == "pulse":
                if self._starved:
                    self._starved, self._next = False, 0.0
                self._pulse = message
            elif message["m"] == "now":
                self._next = 0.0

    def _step(self) -> None:
        self._next = time.monotonic() + self._clocks.interval_s * uniform(0.9, 1.0)
        if not self._pulsed():
            self._starved = True  # the next pulse has us beat at once
            return
        try:
            self._beat()
        except redis.RedisError as error:
            self._failed(error)

    def _pulsed(self) -> bool:
        """True when the last pulse is fresh by main's clock in it: one that lay unread while we were frozen is not."""
        return self._pulse is not None and boottime_ns() - self._pulse["at_ns"] < self._clocks.interval_s / 2 * 1e9

    def _beat(self) -> None:
        if self._silent_for_long() and self._superseded():
            return
        faults.point("beat.send")
        sent_ns = boottime_ns()
        self._seq += 1
        clocks = self._clocks
        answer = self._exchange(clocks)
        wanted = from_plain(Wanted, answer["wanted"]) if answer["wanted"] else None
        self._max_orphan_s = wanted.max_orphan_s if wanted else self._max_orphan_s
        self._deadline.move_on(sent_ns, clocks, self._max_orphan_s)
        self._through_ns = sent_ns
        self._lost.over()
        if wanted:
            self._obey(wanted)
        self._link.send({"m": "through", "seq": self._seq, **answer})
        self._tell_of_slots()

    def _tell_of_slots(self) -> None:
        """Ring the coordinator when slots have come up: jobs may wait for them, and its next look at beats is later."""
        assert self._pulse is not None
        before, self._slots = self._slots, self._pulse["beat"]["slots"]
        if self._slots > before:
            with contextlib.suppress(redis.RedisError):  # a bell that is lost costs the time until the next look
                self._client.publish(self._keys.bell, "beats")

    def _silent_for_long(self) -> bool:
        return boottime_ns() - self._through_ns > self._clocks.ttl_s * 1e9

    def _superseded(self) -> bool:
        """True when another incarnation took our place meanwhile; main is told."""
        present = as_number(self._client.hget(self._keys.worker(self._begin.worker), "incarnation"))
        if present is None or present <= self._begin.incarnation:
            return False
        self._link.send({"m": "superseded", "by": present})
        return True

    def _exchange(self, clocks: Clocks) -> Message:
        assert self._pulse is not None
        worker, beat = self._begin.worker, self._pulse["beat"]
        jobs = [JobId(ref["job"]) for ref in beat["attempts"]]
        with self._client.pipeline(transaction=False) as pipe:
            pipe.set(self._keys.beat(worker), to_json(self._composed(beat, clocks)), px=round(clocks.ttl_s * 1000))
            ask(pipe, self._keys, worker, jobs)
            return understand(jobs, pipe.execute()[1:])

    def _composed(self, beat: Message, clocks: Clocks) -> Beat:
        ours = {
            "worker": self._begin.worker,
            "incarnation": self._begin.incarnation,
            "boot_id": self._begin.boot_id,
            "seq": self._seq,
            "interval_ms": round(clocks.interval_s * 1000),
            "ttl_ms": round(clocks.ttl_s * 1000),
        }
        return from_plain(Beat, {**beat, **ours})

    def _obey(self, wanted: Wanted) -> None:
        """Beat by these clocks from the next beat on."""
        clocks = clocks_of(wanted)
        if clocks != self._clocks:
            log.info("beat interval: %g s, %d may be missed", clocks.interval_s, clocks.missed_beats)
            self._clocks = clocks
            self._next = min(self._next, time.monotonic() + clocks.interval_s * uniform(0.9, 1.0))

    def _failed(self, error: redis.RedisError) -> None:
        most_s = min(MOST_PAUSE_S, self._clocks.interval_s / 5)
        # At once the first time: most often only the connection was lost.
        self._next = time.monotonic() + self._lost.failed(error, Backoff(0.04, most_s), at_once=True)
        self._link.send({"m": "failed", "why": str(error)})


def clocks_of(wanted: Wanted) -> Clocks:
    """The clocks that the coordinator wants of a worker."""
    return Clocks(wanted.interval_ms / 1000, wanted.missed_beats)


def _first(link: Link) -> Message:
    """Wait for main's first message. Raises SystemExit when main is gone."""
    while not link.gone:
        select.select([link], [], [])
        messages = link.receive()
        if messages:
            return messages[0]
    raise SystemExit("main is gone")


def main() -> None:
    """The process: ends with main."""
    fd, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(signal.SIGKILL, parent)
    for number in SILENCED:
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format="%(levelname)s beat: %(message)s", level=os.environ.get("MUSTER_LOG", "INFO"))
    link = Link(socket.socket(fileno=fd))
    Heartbeat(link, from_plain(Begin, _first(link)["begin"])).run()


if __name__ == "__main__":
    main()
