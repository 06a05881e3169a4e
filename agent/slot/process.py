"""A slot: one RQ worker on its worker's one queue. It takes envelopes and forks a guard for each.

RQ's loop is used as it is, its recovery is not: lost work is found by the ledger. Only hooks that are the same in
RQ 2.12 and 3.0 are overridden.

In the work horse the order is: the guard claims first (setup_work_horse_signals, RQ's first hook there), then RQ makes
its own calls to Redis while the claim is answered, then the envelope is performed, which runs the guard to its end.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import socket
import sys
import time
from typing import Any

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry
from rq import Worker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker_registration import clean_worker_registry

from agent.attempt import guard
from agent.ipc.channel import SlotSetup, send_datagram
from agent.ipc.deadline import read_only
from agent.ipc.link import Message
from agent.ipc.start import Start
from agent.processes import die_with_parent
from agent.slot.envelope import drop, envelope_class
from app.pool import faults, keys
from app.pool.codec import from_json, look_up
from app.pool.pickles import refuse_pickle
from app.pool.protocol import Order, Report

log = logging.getLogger(__name__)

WORKER_TTL_S = 180  # RQ asks Redis again 15 s earlier: an idle slot costs four commands in that time
FIRST_RETRY_S = 0.05
MOST_RETRY_S = 3.0
FAREWELL_S = 2
HEARTBEAT_S = 1.0  # RQ writes its own heartbeat up to four times between two jobs; one in this time is enough
# A connection whose other end vanished is noticed in 5 + 3 * 2 s, not after RQ's socket timeout.
KEEPALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3}


class Slot(Worker):
    """RQ's worker, with the pool's way to stop and to clean up, which tells main what happens."""

    channel: socket.socket
    setup: SlotSetup
    pidfd: int  # our own, by which guards see our death
    order: Order  # of the envelope that was taken last
    begun: guard.Guard | None = None  # in the work horse
    idle = False
    heartbeat_at = -math.inf  # of RQ's last heartbeat, unless a guard has set a shorter time to live since

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Wait for the next envelope. Raises StopRequested when asked to stop before there is one."""
        send_datagram(self.channel, {"m": "ready"})
        self.idle = True  # before the look at _stop_requested: a signal between the two is not missed
        try:
            while not self._stop_requested:
                try:
                    taken = super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
                    faults.point("slot.popped", self.setup.start)
                    if taken:
                        envelope: Any = taken[0]
                        self.order = envelope.order
                    return taken
                except UnicodeDecodeError as error:  # an id that is no text would end the worker
                    log.warning("envelope refused: worker=%s cause=its id is no text", self.setup.worker)
                    drop(self.connection, self.setup.worker, error.object)
            raise StopRequested
        finally:
            self.idle = False

    def wait_for_horse(self) -> Any:
        """Wait for the guard as RQ does, and tell main how it ended."""
        pid, status, usage = super().wait_for_horse()
        self.heartbeat_at = -math.inf  # the guard has set a shorter time to live
        if pid is not None:
            send_datagram(self.channel, {"m": "horse", "pid": pid, "status": status})
        return pid, status, usage

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Write RQ's heartbeat in one round trip, and not at all when the last one was a moment ago."""
        if timeout is not None or pipeline is not None:
            super().heartbeat(timeout, pipeline)
        elif time.monotonic() > self.heartbeat_at + HEARTBEAT_S:
            with self.connection.pipeline(transaction=False) as pipe:
                super().heartbeat(pipeline=pipe)
                pipe.execute()
            self.heartbeat_at = time.monotonic()

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Write RQ's state where it changes."""
        if state != self.get_state():
            super().set_state(state, pipeline)

    def setup_work_horse_signals(self) -> None:
        """Begin the work horse: it claims, and dies with its slot, at once until the guard handles that itself."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent(signal.SIGTERM, self.pid or 0)
        try:
            self.begun = guard.begin(self.setup, self.channel, self.pidfd, self.order)
        except BaseException:
            log.exception("guard lost: worker=%s job=%s", self.order.worker, self.order.job)
            os._exit(1)

    def attempt(self) -> None:
        """Run the guard to its end, in the work horse: what an envelope runs."""
        if self.begun is not None:
            guard.run(self.begun)

    def request_stop(self, signum: int, frame: Any) -> None:
        """Handle SIGTERM: take nothing new, finish what runs. RQ's own handler calls Redis and logs; this may not."""
        self._stop_requested = True
        if self.idle:
            self.idle = False  # once: a second signal may not break the farewell
            raise StopRequested

    def teardown(self) -> None:
        """Sign off from RQ, unless Redis does not answer in time. RQ's own also waits for its thread to end."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(FAREWELL_S)
        self.register_death()  # type: ignore[no-untyped-call]
        signal.alarm(0)

    def run_maintenance_tasks(self) -> None:
        """Delete what RQ keeps about past envelopes and slots. RQ's own would retry jobs and run callbacks."""
        for queue in self.queues:
            FinishedJobRegistry(queue=queue).cleanup()
            FailedJobRegistry(queue=queue).cleanup()
            clean_worker_registry(queue)
        self.last_cleaned_at = now()  # type: ignore[assignment]


def connect(url: str) -> Redis:
    """A client that tries for ever: an RQ worker that gives up exits, and its horse lives on alone."""
    retry = Retry(ExponentialWithJitterBackoff(cap=MOST_RETRY_S, base=FIRST_RETRY_S), retries=-1)
    tcp = {} if url.startswith("unix:") else {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
    # Each guard opens a connection of its own, so what is said when one is opened is said for each job.
    brief = {"protocol": 2, "driver_info": None}
    return Redis.from_url(url, retry=retry, socket_connect_timeout=5, **tcp, **brief)


def make_slot(setup: SlotSetup, channel: socket.socket) -> Slot:
    """The RQ worker of this slot."""
    redis = connect(setup.rq_redis_url)

    def run(order: Message) -> None:  # what it is called with is slot.order, checked
        slot.attempt()

    envelope: type[Job] = envelope_class(setup.worker, run)
    queue = Queue(keys.queue(setup.worker), connection=redis, job_class=envelope, serializer=JSONSerializer)
    slot = Slot(
        [queue],
        name=f"{setup.worker}-{setup.incarnation}-{setup.slot}-{setup.start}",
        connection=redis,
        job_class=envelope,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL_S,
        log_job_description=False,
    )
    slot.channel, slot.setup, slot.pidfd = channel, setup, os.pidfd_open(os.getpid())
    return slot


def main(channel_fd: int) -> int:
    """Run the slot until SIGTERM. Returns the exit code."""
    setup = from_json(SlotSetup, sys.stdin.read())
    die_with_parent(signal.SIGKILL, setup.main_pid)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s slot %(message)s", stream=sys.stderr)
    refuse_pickle()
    read_only(setup.deadline_fd)
    look_up(Order, Report, Start)  # once here, instead of in each guard and each workflow
    with socket.socket(fileno=channel_fd) as channel:
        slot = make_slot(setup, channel)
        gc.collect()
        gc.freeze()  # a collection in a fork would copy each page that it looks at: 30 ms for what is here now
        slot.work(logging_level="WARNING")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
