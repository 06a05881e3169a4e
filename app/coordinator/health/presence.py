"""Presence: who listens on a worker's bell, and what a call tells when nobody does any more.

The kernel closes a dead agent's subscription within milliseconds, so its loss is the fastest hint that
there is; a hint only, because a healthy agent loses a connection too. What follows from a loss is
health's to decide. `step` has a thread of its own: no call to an agent's address may delay the leader's loop.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

import redis

from app.coordinator.stores import Stores
from app.pool.call import NoAnswer, who_is
from app.pool.live import AT_ONCE, KEEPALIVE_S
from app.pool.model import Worker, WorkerId
from app.pool.protocol import WhoIs

log = logging.getLogger(__name__)

ASK_S = 0.1
MOST_ASKED = 1_000  # at once ten times a second; a larger fleet is asked less often: ten thousand once a second
CALL_S = 1.0
CALL_AGAIN_S = 10.0  # one that listens and has not answered yet
CALLERS = 16  # calls at once; a rack that loses its switch is called in a few rounds
LOOPBACK = ("127.", "::1", "localhost")

Life = tuple[WorkerId, int]


class LossKind(Enum):
    """What is known of a worker whose presence was lost."""

    DEAD = "dead"  # its host refused the call, or another incarnation or boot answers there
    SILENT = "silent"  # no answer, or no address: down unless a newer beat comes soon


@dataclass(frozen=True)
class Loss:
    """A presence that was lost: when, which beat was the newest then, and what the call told."""

    worker: WorkerId
    incarnation: int
    kind: LossKind
    why: str
    at: float
    seq: int = -1


class Presence:
    """One term's watch over the bells of the workers that it is told of; `losses` hands out what it found.

    `saw` is called after each answer of Redis: it is a look that got through.
    """

    def __init__(
        self,
        stores: Stores,
        boot_id: str = "",
        ring: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = stores.redis
        self._keys = stores.keys
        self._live = stores.live
        self._boot_id = boot_id
        self._ring = ring
        self._now = now
        self.saw: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._watched: list[Worker] = []
        self._lives: list[Life] = []  # theirs
        self._counts: list[int] = []  # how many listened to each of them at the last look
        self._strangers: list[int] = []  # which of them have an address and never answered there
        self._listens: dict[Life, bool] = {}  # this leader saw it listen: is it listening still?
        self._answered: set[Life] = set()  # this leader called it, and it answered for itself
        self._reached: dict[Life, bool] = {}  # whether its last call was answered by itself
        self._call_due: dict[tuple[Life, bool], float] = {}
        self._losses: list[Loss] = []
        self._run_id: str | None = None
        self._away = False
        self._due = 0.0
        self._callers = ThreadPoolExecutor(CALLERS, thread_name_prefix="call")

    def watch(self, workers: Iterable[Worker]) -> None:
        """From now on watch these workers' present incarnations, and forget all others."""
        watched = list(workers)
        ordered = [(worker.id, worker.incarnation) for worker in watched]
        with self._lock:
            if ordered == self._lives:
                return
            lives = set(ordered)
            self._watched, self._lives, self._counts = watched, ordered, []
            self._answered &= lives
            self._listens = {life: there for life, there in self._listens.items() if life in lives}
            self._reached = {life: there for life, there in self._reached.items() if life in lives}
            self._call_due = {key: due for key, due in self._call_due.items() if key[0] in lives}
            self._strangers = [n for n, each in enumerate(watched) if each.address and each.port]

    def losses(self) -> list[Loss]:
        """What was found since the last call."""
        with self._lock:
            found, self._losses = self._losses, []
        return found

    def listens(self, worker: Worker) -> bool:
        """Whether somebody listened on its bell at the last look."""
        with self._lock:
            return self._listens.get(_life(worker), False)

    def reached(self, worker: Worker) -> bool:
        """Whether the last call to its address was answered by itself."""
        with self._lock:
            return self._reached.get(_life(worker), False)

    def call(self, worker: Worker) -> None:
        """Learn whether it can be reached on its address; the answer is there about a second later."""
        if worker.address and worker.port:
            self._callers.submit(self._ask, worker)

    def step(self) -> None:
        """Ask once who listens, and look into each loss."""
        with self._lock:
            watched = self._watched
        if not watched or self._now() < self._due:
            return
        self._due = self._now() + ASK_S * (len(watched) / MOST_ASKED - 1)
        try:
            lost = self._lost_of(watched, self._listening(watched))
            beats = self._live.look([worker.id for worker in lost]).beats if lost else {}
        except redis.RedisError as error:
            self._blind(error)
            return
        self._away = False
        self.saw()
        for worker in lost:
            beat = beats.get(worker.id)
            seq = beat.seq if beat and beat.incarnation == worker.incarnation else -1
            self._callers.submit(self._look_into, worker, self._now(), seq)

    def close(self) -> None:
        """Call nobody any more."""
        self._callers.shutdown(wait=False, cancel_futures=True)

    def _blind(self, error: redis.RedisError) -> None:
        """What closed our connection may have closed theirs: nobody is lost by what nobody could see."""
        if not self._away:
            log.warning("presence: Redis does not answer: %s", error)
        self._away = True
        with self._lock:
            self._listens.clear()
            self._counts = []

    def _listening(self, workers: Sequence[Worker]) -> list[int]:
        """How many listen on each one's bell."""
        bells = [self._keys.bell_of(worker.id) for worker in workers]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.info("server")
            for first in range(0, len(bells), AT_ONCE):
                pipe.pubsub_numsub(*bells[first : first + AT_ONCE])
            server, *parts = pipe.execute()
        if server["run_id"] != self._run_id:
            self._new_run(server["run_id"])
        return [count for part in parts for _, count in part]  # in the order in which they were asked for

    def _lost_of(self, watched: list[Worker], counts: list[int]) -> list[Worker]:
        """Those that listened and do not any more; whoever listens as at the last look is passed over."""
        with self._lock:
            known = self._watched is watched
            before = self._counts if known else []
            strangers = self._strangers if known else []
            if known:
                self._counts = counts
                self._strangers = [n for n in strangers if _life(watched[n]) not in self._answered]
        moved = [n for n, count in enumerate(counts) if not before or count != before[n]] if counts != before else []
        return [watched[n] for n in sorted({*moved, *strangers}) if self._note(watched[n], counts[n] > 0)]

    def _new_run(self, run_id: str) -> None:
        """Another run of Redis: nobody has had time to subscribe, so nobody has been lost."""
        self._run_id = run_id
        with self._lock:
            self._listens.clear()
            self._counts = []
        try:
            if self._live.keepalive_problem():
                self._redis.config_set("tcp-keepalive", KEEPALIVE_S)
        except redis.ResponseError as error:
            log.warning("presence: Redis drops hosts that are cut off late, tcp-keepalive cannot be set: %s", error)

    def _note(self, worker: Worker, listening: bool) -> bool:
        """Remember it; True when it listened and does not any more."""
        life = _life(worker)
        with self._lock:
            was = self._listens.get(life, False)
            if listening or was:
                self._listens[life] = listening
            first = life not in self._answered and self._now() >= self._call_due.get((life, listening), 0.0)
            if first:
                # One that does not listen is called once: another incarnation may live there already.
                self._call_due[life, listening] = self._now() + CALL_AGAIN_S if listening else math.inf
        if first and worker.address and worker.port:
            self._callers.submit(self._call_first, worker, listening)
        return was and not listening

    def _call_first(self, worker: Worker, listening: bool) -> None:
        """Learn whether its address leads to it, so that a later refusal means something."""
        answer = self._ask(worker)
        if isinstance(answer, WhoIs) and not listening and answer.worker == worker.id and not _itself(worker, answer):
            self._lost(Loss(*_life(worker), LossKind.DEAD, _other(answer), self._now()))

    def _look_into(self, worker: Worker, at: float, seq: int) -> None:
        answer = self._ask(worker)
        if isinstance(answer, WhoIs) and _itself(worker, answer):
            return  # alive: it lost a connection and will be back
        word, why = self._word(worker, answer)
        self._lost(Loss(*_life(worker), word, why, at, seq))

    def _lost(self, loss: Loss) -> None:
        log.info("presence lost: worker=%s incarnation=%d %s", loss.worker, loss.incarnation, loss.why)
        with self._lock:
            self._losses.append(loss)
        self._ring()

    def _ask(self, worker: Worker) -> WhoIs | NoAnswer:
        if not worker.address or not worker.port:
            return NoAnswer.SILENT
        answer = who_is(worker.address, worker.port, CALL_S)
        itself = isinstance(answer, WhoIs) and _itself(worker, answer)
        with self._lock:
            self._reached[_life(worker)] = itself
            if itself:
                self._answered.add(_life(worker))
        return answer

    def _word(self, worker: Worker, answer: WhoIs | NoAnswer) -> tuple[LossKind, str]:
        if isinstance(answer, WhoIs) and answer.worker == worker.id:
            return LossKind.DEAD, _other(answer)
        # Another worker's answer tells what a refusal tells: on this port it is not.
        if answer is not NoAnswer.SILENT and self._refusal_proves(worker):
            return LossKind.DEAD, "its host answers, but its process is gone"
        return LossKind.SILENT, "its connection is gone and its address does not answer"

    def _refusal_proves(self, worker: Worker) -> bool:
        """Only where this incarnation had answered there; and loopback is this host's only by its boot id."""
        with self._lock:
            answered = _life(worker) in self._answered
        loopback = (worker.address or "").startswith(LOOPBACK)
        return answered and (not loopback or worker.boot_id == self._boot_id)


def _life(worker: Worker) -> Life:
    return worker.id, worker.incarnation


def _itself(worker: Worker, answer: WhoIs) -> bool:
    return (answer.worker, answer.incarnation, answer.boot_id) == (worker.id, worker.incarnation, worker.boot_id)


def _other(answer: WhoIs) -> str:
    return f"incarnation {answer.incarnation} answers at its address"
