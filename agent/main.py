"""Main: the agent's one loop. It hears beat, slots and guards, and does what leases and signals say.

Single-threaded; the bell listener, the outbox, the uploader of logs and the address have threads of their own, which
only put something down for main and ring. Main waits for nobody but the kernel's report of a death, so that no job,
no GPU driver and no server can delay it.

The order within a turn matters. What has been heard comes first, then the check that the beat process lives: without
it nobody moves the deadlines on, and main kills every job and ends with an error. Only then attempts and slots are
looked at, and at last the beat is told of all of it. When the thread of bell, outbox or uploader dies, main ends in the
same way; when the address' dies it says good-bye first. Its supervisor starts it again.
"""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent.attempt.handle import LOST, AttemptHandle, SlotRef
from agent.attempt.orphans import strays
from agent.attempt.outbox import Outbox
from agent.attempt.table import Attempts
from agent.beat.pulse import Pulse
from agent.beat.timer import SOON_S, BeatTimer
from agent.gpus.load import HostLoad
from agent.ipc.link import Link, Message
from agent.log.uploader import Uploader
from agent.processes import carried_by, kill_all, reap
from agent.slot.starter import SlotProcess, SlotProcesses
from app.pool.codec import plain
from app.pool.errors import PoolError
from app.pool.live import parse_leases
from app.pool.loop import Bell, stop_on_signals
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Report

log = logging.getLogger(__name__)

LOOK_S = 0.25  # how often guards are looked at while there are any
IDLE_S = 1.0
DIE_S = 5.0  # how long a main that gives up waits for its jobs' deaths
SETTLE_S = 2.0  # for the last reports to be read, and for the rest of the logs; what is away does not hold us
HURRY_S = 0.5


@dataclass(frozen=True)
class AgentParts:
    """What main brings together."""

    worker: WorkerId
    incarnation: int
    pulse: Pulse
    slots: SlotProcesses
    attempts: Attempts
    outbox: Outbox
    uploader: Uploader
    load: HostLoad
    read: Callable[[Any, Sequence[JobId]], Message]  # the coordinator's directives, by a client of Redis
    grace_s: float
    own: Callable[[], set[int]]  # main's own children


class Main:
    """One incarnation's loop. `asked` stops when the agent is to leave; threads and dying children ring `bell`."""

    def __init__(self, parts: AgentParts, asked: Bell, bell: Bell) -> None:
        self._parts = parts
        self._asked = asked
        self._bell = bell
        self._hurry = Bell()
        self._selector = selectors.DefaultSelector()
        self._now = time.monotonic()
        self._read_by_bell: deque[Message | None] = deque()  # directives from the bell's thread; None: reconnected
        self._beat_timer = BeatTimer()
        self._failed: str | None = None
        self._generation: str | None = None
        self._wanted = 0  # the number of the last Wanted that was obeyed
        self._repeat_at = 0.0
        self._left_at: float | None = None  # when leaving began

    def rung(self, redis: Any) -> None:
        """Look at the leases, and beat; called in the bell's thread. Raises redis.RedisError."""
        jobs = [ref.job for ref in self._parts.attempts.refs()]
        self._read_by_bell.append(self._parts.read(redis, jobs))
        self._bell.ring()

    def subscribed(self) -> None:
        """Send everything again: what was rung or sent before may be lost; called in the bell's thread."""
        self._parts.outbox.send_again()
        self._read_by_bell.append(None)
        self._bell.ring()

    def thread_died(self, name: str) -> None:
        """End with an error; called in the thread that dies."""
        self._failed = f"thread {name} died"
        self._bell.ring()

    def run(self) -> None:
        """Work until all is left in order. Raises PoolError when it must end otherwise; nothing survives either way."""
        signal.signal(signal.SIGCHLD, lambda *_: self._bell.ring())
        self._listen(self._bell, self._woken)
        self._listen(self._asked, self._leave)
        self._listen(self._parts.pulse, self._hear_beat)
        self._listen(self._parts.load, self._hear_figures)
        try:
            while not self._done():
                self._turn()
            self._farewell()
        finally:
            self._parts.slots.stop(HURRY_S if self._left_at else 0.0)
            self._parts.load.stop()
            self._kill_what_is_left()
            self._parts.pulse.stop()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._pause_s()):
            key.data()
        before, self._now = self._now, time.monotonic()
        blind_s = max(0.0, self._now - before - IDLE_S)  # we were frozen, or starved: nobody else was silent
        self._check(blind_s)
        self._parts.attempts.step(self._now, blind_s)
        self._start_slots()
        if self._parts.load.step(self._now, self._parts.attempts.refs(), self._parts.attempts.guards()):
            self._beat_timer.within(0.0)  # what the cards have free is asked for now, and a beat may be minutes away
        self._repeat()
        self._pulse()

    def _pause_s(self) -> float:
        busy = self._parts.attempts.refs() or self._left_at is not None
        beat_s = max(0.0, self._beat_timer.due_at - time.monotonic())
        return min(self._parts.pulse.every_s, LOOK_S if busy else IDLE_S, beat_s)

    def _check(self, blind_s: float) -> None:
        if self._failed:
            raise PoolError(self._failed)
        reap(self._parts.own())
        self._parts.pulse.check(self._now, blind_s)

    def _listen(self, source: Any, heard: Callable[[], object]) -> None:
        self._selector.register(source, selectors.EVENT_READ, heard)

    def _woken(self) -> None:
        """Take what the bell's thread has read; a child's death wakes main too."""
        self._bell.wait(0)
        while self._read_by_bell:
            directives = self._read_by_bell.popleft()
            if directives is None:
                self._beat_timer.hurry()
            else:
                self._beat_timer.within(SOON_S)
                self._obey(directives)

    def _hear_beat(self) -> None:
        for message in self._parts.pulse.hear(time.monotonic()):
            if message["m"] == "superseded":
                raise _replaced(message["by"])
            if message["m"] == "through":
                self._beat_got_through(message)

    def _beat_got_through(self, directives: Message) -> None:
        if directives["wanted"] and directives["wanted"]["number"] != self._wanted:
            self._wanted = directives["wanted"]["number"]
            self._parts.slots.want(directives["wanted"]["slots"], self._parts.attempts.busy)
            self._beat_timer.within(0.0)  # by its new clocks, and to say that it is obeyed
        self._obey(directives)

    def _obey(self, directives: Message) -> None:
        """Do what the coordinator says; directives that came by bell and by beat say the same."""
        if (directives["incarnation"] or 0) > self._parts.incarnation:
            raise _replaced(directives["incarnation"])
        if directives["generation"] != self._generation:
            if self._generation:
                log.warning("Redis has a new generation: worker=%s", self._parts.worker)
            self._generation = directives["generation"]
            self._parts.outbox.send_again()
        self._parts.attempts.obey(parse_leases(directives["leases"]), time.monotonic())

    def _hear_figures(self) -> None:
        if self._parts.load.hear(time.monotonic()):
            self._beat_timer.within(0.0)

    def _start_slots(self) -> None:
        for slot in self._parts.slots.start_due(self._parts.attempts.busy, self._now):
            assert slot.channel is not None
            self._listen(slot.channel, partial(self._hear_slot, slot))

    def _hear_slot(self, slot: SlotProcess) -> None:
        channel = slot.channel
        assert channel is not None
        now = time.monotonic()
        heard = self._parts.slots.hear(slot, now)
        if heard is None:
            self._selector.unregister(channel)
            self._parts.attempts.slot_died(slot.number, slot.exit_code, now)
            return
        message, fds = heard
        if message["m"] == "guard":
            self._introduce(slot, message, fds[0], now)
        elif message["m"] == "horse":
            self._parts.attempts.horse_ended(message["pid"], message["status"])
        elif message["m"] == "ready":
            self._beat_timer.within(SOON_S)

    def _introduce(self, slot: SlotProcess, introduction: Message, fd: int, now: float) -> None:
        link = Link(socket.socket(fileno=fd))
        assert slot.process is not None
        handle = self._parts.attempts.introduced(introduction, SlotRef(slot.number, slot.process.pid), link, now)
        self._listen(link, partial(self._hear_guard, handle))
        self._hear_guard(handle)  # its claim is there already, or soon

    def _hear_guard(self, handle: AttemptHandle) -> None:
        self._parts.attempts.heard(handle, time.monotonic())
        if handle.gone_at is not None:
            self._selector.unregister(handle.link)

    def _repeat(self) -> None:
        """Send again what is kept, once an interval."""
        if self._now >= self._repeat_at:
            self._repeat_at = self._now + self._parts.pulse.interval_s
            self._parts.outbox.repeat()

    def _pulse(self) -> None:
        if self._parts.attempts.changed:
            self._parts.attempts.changed = False
            self._beat_timer.within(SOON_S)
        at_once = self._beat_timer.take(self._now)
        if at_once or self._parts.pulse.due(self._now):
            self._parts.pulse.send(self._beat(), at_once, self._now)

    def _beat(self) -> dict[str, Any]:
        attempts, load = self._parts.attempts, self._parts.load
        return {
            **load.figures(self._now, self._parts.pulse.interval_s),
            "slots": self._parts.slots.count,
            "free_slots": self._parts.slots.free(lambda slot: attempts.busy(slot) or load.holds(slot)),
            "attempts": plain(attempts.refs()),
            "tags": attempts.tags(),
            "wanted": self._wanted,
            "leaving": self._left_at is not None,
        }

    def _leave(self) -> None:
        """Begin the good-bye: take nothing new, stop what runs within the grace. A second signal hurries it."""
        if self._asked.wait(0):
            return
        log.info("leaving: worker=%s", self._parts.worker)
        self._selector.unregister(self._asked)
        self._left_at = time.monotonic()
        stop_on_signals(self._hurry)
        self._listen(self._hurry, self._hasten)
        self._parts.slots.leave()
        self._parts.attempts.leave(self._parts.grace_s, self._left_at)
        self._beat_timer.within(0.0)

    def _hasten(self) -> None:
        if not self._hurry.wait(0):
            self._selector.unregister(self._hurry)
            self._parts.attempts.kill(LOST, time.monotonic())

    def _done(self) -> bool:
        return self._left_at is not None and self._parts.attempts.empty

    def _farewell(self) -> None:
        """Send the last report; the beat goes on until it is read, so that nobody calls us silent meanwhile."""
        self._parts.outbox.put(Report("goodbye", self._parts.worker, self._parts.incarnation))
        self._parts.pulse.send(self._beat(), True, time.monotonic())
        within_s = HURRY_S if self._hurry.stopped else SETTLE_S
        if not self._parts.outbox.leave(within_s):
            log.warning("left before all reports were read: worker=%s", self._parts.worker)
        if not self._parts.uploader.leave(within_s):
            log.warning("left before all logs were sent, the next life sends the rest: worker=%s", self._parts.worker)

    def _kill_what_is_left(self) -> None:
        """Kill guards and workflows; after a good-bye there are none."""
        left = kill_all(lambda: carried_by(worker=self._parts.worker) | strays({self._parts.pulse.pid}), DIE_S)
        if left:
            log.error("cannot be killed: worker=%s pids=%s", self._parts.worker, sorted(left))


def _replaced(by: int) -> PoolError:
    return PoolError(f"incarnation {by} of this worker has taken our place")
