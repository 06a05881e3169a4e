"""The coordinator's wiring: stores, who leads, the leader's one loop, retention beside it."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from threading import Thread

import redis

from app.coordinator.control_loop import ControlLoop
from app.coordinator.health.presence import ASK_S, Presence
from app.coordinator.hints import Hints
from app.coordinator.leader import Leadership
from app.coordinator.stores import Stores, connect
from app.coordinator.upkeep import output_gc, retention
from app.pool.backoff import Backoff, Outage
from app.pool.errors import PoolError, Unavailable
from app.pool.loop import Bell, Loop, start_thread, stop_on_signals
from app.pool.settings import ServerSettings

log = logging.getLogger(__name__)

STOP_S = 1.5  # SIGTERM ends us within 2 s; what is cut off is found by the next leader


class Coordinator:
    """Steps while this process leads; tries again while Redis or PostgreSQL is away, and logs that once."""

    def __init__(self, stores: Stores, leadership: Leadership, hints: Hints, bell: Bell, boot_id: str) -> None:
        self._stores = stores
        self._boot_id = boot_id
        self._leadership = leadership
        self._hints = hints
        self._bell = bell
        self._control_loop: ControlLoop | None = None
        self._term = 0
        self._outage = Outage(log, "coordinator: waits", "coordinator: goes on")
        self._pause = 0.0  # before the next try

    def run(self) -> None:
        """Step until the bell is stopped."""
        while self._bell.wait(self._pause_s()):
            self._leadership.finished_step()
            term = self._leadership.term
            if term != self._term:
                self._change(term)
            if self._control_loop is not None:
                self._step(self._control_loop)
        self._change(0)

    def ask_presence(self) -> None:
        """Ask who listens, while this process leads. Runs in a thread of its own."""
        control_loop = self._control_loop
        if control_loop is not None:
            control_loop.ask_presence()

    def _change(self, term: int) -> None:
        if self._control_loop is not None:
            self._control_loop.presence.close()
        self._control_loop = self._begin(term) if term else None
        self._term = term

    def _begin(self, term: int) -> ControlLoop:
        presence = Presence(self._stores, self._boot_id, self._bell.ring)
        return ControlLoop(
            self._stores,
            leads=lambda: self._leadership.term == term,
            presence=presence,
        )

    def _step(self, control_loop: ControlLoop) -> None:
        hint = self._hints.take()
        hint.everything |= self._outage.failures > 0
        try:
            control_loop.step(hint)
        except (redis.RedisError, Unavailable) as error:
            self._pause = self._outage.failed(error, Backoff(most_s=1.0))
        except Exception as error:  # a step may fail; the loop may not
            log.exception("coordinator: step failed")
            self._pause = self._outage.failed(error, Backoff(most_s=1.0))
        else:
            self._outage.over()

    def _pause_s(self) -> float:
        if self._outage.failures:
            return self._pause
        return self._control_loop.period_s(self._hints.events) if self._control_loop else 1.0


def main() -> int:
    """Run until a signal, or until a thread has died; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = ServerSettings.from_environment()
    except PoolError as error:
        print(error, file=sys.stderr)
        return 1
    stores = connect(settings.database_url, settings.redis_url, settings.rq_redis_url, settings.prefix)
    stopping, bell = Bell(), Bell()
    stop_on_signals(stopping)
    leadership = Leadership(settings.database_url, bell.ring)
    hints = Hints(stores.redis, stores.keys, bell.ring)
    coordinator = Coordinator(stores, leadership, hints, bell, boot_id())
    presence = Loop("presence", coordinator.ask_presence, ASK_S, Bell())
    retention_loop = Loop("retention", lambda: retention.step(stores.ledger), retention.EVERY_S, Bell())
    outputs = output_gc.OutputGc(stores.ledger, settings.output_folder)
    output_loop = Loop("output GC", outputs.step, output_gc.EVERY_S, Bell())
    loops = (presence, retention_loop, output_loop)
    threads = [
        start_thread("leader", leadership.run, stopping.fail),
        start_thread("hints", hints.run, stopping.fail),
        start_thread("control loop", coordinator.run, stopping.fail),
        *[start_thread(loop.name, loop.run, stopping.fail) for loop in loops],
    ]
    while stopping.wait(3600):
        pass
    for waiting in (bell, leadership.bell, hints.bell, *(loop.bell for loop in loops)):
        waiting.stop()
    if _joined(threads):
        stores.ledger.close()
    return 1 if stopping.failed else 0  # its supervisor starts it anew


def boot_id() -> str:
    """The boot id of this host, as the agents on it say it."""
    return os.environ.get("MUSTER_BOOT_ID") or Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _joined(threads: list[Thread]) -> bool:
    """Wait STOP_S for the threads; False, and their names in the log, when some go on: the process ends with them."""
    end = time.monotonic() + STOP_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            log.warning("coordinator: %s did not stop in time", thread.name)
    return not any(thread.is_alive() for thread in threads)


if __name__ == "__main__":
    sys.exit(main())
