"""Presence: who listens on a worker's bell, and what a call tells once nobody listens.

The kernel closes a dead agent's subscription within milliseconds, so its loss is the fastest hint of all.
It is only a hint, because a healthy agent can lose a connection too: health decides what follows.
`step` has a thread of its own, and calls have theirs: no call to an agent's address may delay the leader's loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import redis

from app.coordinator.health.calls import Calls, Life, LossKind, has_address, is_itself, life_of
from app.coordinator.stores import Stores
from app.pool.agent_http import WhoIs
from app.pool.backoff import Outage
from app.pool.live import AT_ONCE, KEEPALIVE_S, portions
from app.pool.model import Worker, WorkerId

log = logging.getLogger(__name__)

ASK_S = 0.1
MOST_ASKED = 1_000  # at once ten times a second; a larger fleet is asked less often: ten thousand once a second


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
    """One term's watch over the bells of the workers given to `watch`; `losses` hands out what it found."""

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
        self._ring = ring
        self._now = now
        self._calls = Calls(boot_id, now)
        self._lock = threading.Lock()
        self._watched: list[Worker] = []
        self._lives: list[Life] = []  # of those that are watched
        self._counts: list[int] = []  # how many listened to each of them at the last look
        self._strangers: list[int] = []  # which of them have an address and never answered there
        self._listens: dict[Life, bool] = {}  # this leader saw it listen: is it listening still?
        self._losses: list[Loss] = []
        self._run_id: str | None = None
        self._outage = Outage(log, "presence: Redis does not answer")
        self._due = 0.0

    def watch(self, workers: Iterable[Worker]) -> None:
        """From now on watch these workers' present incarnations, and forget all others."""
        watched = list(workers)
        ordered = [life_of(worker) for worker in watched]
        with self._lock:
            if ordered == self._lives:
                return
            lives = set(ordered)
            self._watched, self._lives, self._counts = watched, ordered, []
            self._listens = {life: there for life, there in self._listens.items() if life in lives}
            self._strangers = [number for number, worker in enumerate(watched) if has_address(worker)]
        self._calls.keep(lives)

    def losses(self) -> list[Loss]:
        """What was found since the last call."""
        with self._lock:
            losses, self._losses = self._losses, []
        return losses

    def listens(self, worker: Worker) -> bool:
        """True when somebody listened on its bell at the last look."""
        with self._lock:
            return self._listens.get(life_of(worker), False)

    def reached(self, worker: Worker) -> bool:
        """True when the last call to its address was answered by itself."""
        return self._calls.reached(worker)

    def call(self, worker: Worker) -> None:
        """Learn whether it can be reached on its address; `reached` knows it about a second later."""
        if has_address(worker):
            self._calls.begin(self._calls.ask, worker)

    def step(self) -> bool:
        """Ask once who listens, and look into each loss. True when Redis answered: it was a look that got through."""
        with self._lock:
            watched = self._watched
        if not watched or self._now() < self._due:
            return False
        self._due = self._now() + ASK_S * (len(watched) / MOST_ASKED - 1)
        try:
            lost = self._lost_of(watched, self._listening(watched))
            beats = self._live.look([worker.id for worker in lost]).beats if lost else {}
        except redis.RedisError as error:
            self._blind(error)
            return False
        self._outage.over()
        for worker in lost:
            beat = beats.get(worker.id)
            seq = beat.seq if beat and beat.incarnation == worker.incarnation else -1
            self._calls.begin(self._look_into, worker, self._now(), seq)
        return True

    def close(self) -> None:
        """Call nobody from now on."""
        self._calls.close()

    def _blind(self, error: redis.RedisError) -> None:
        """What closed our connection may have closed theirs: nobody is lost by what nobody could see."""
        self._outage.failed(error)  # the pause is ours: the next look comes in its turn
        with self._lock:
            self._listens.clear()
            self._counts = []

    def _listening(self, workers: Sequence[Worker]) -> list[int]:
        """How many listen on each one's bell."""
        bells = [self._keys.bell_of(worker.id) for worker in workers]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.info("server")
            for portion in portions(bells, AT_ONCE):
                pipe.pubsub_numsub(*portion)
            server, *parts = pipe.execute()
        if server["run_id"] != self._run_id:
            self._new_run(server["run_id"])
        return [count for part in parts for _, count in part]  # in the order in which they were asked for

    def _lost_of(self, watched: list[Worker], counts: list[int]) -> list[Worker]:
        """The workers that listened and do so no longer; one that listens as at the last look is passed over."""
        with self._lock:
            current = self._watched is watched
            before = self._counts if current else []
            strangers = self._strangers if current else []
            if current:
                self._counts = counts
                self._strangers = self._calls.unanswered([(number, watched[number]) for number in strangers])
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
        """Remember it; True when it listened and does so no longer."""
        life = life_of(worker)
        with self._lock:
            was = self._listens.get(life, False)
            if listening or was:
                self._listens[life] = listening
        if self._calls.is_due(worker, listening):
            self._calls.begin(self._call_first, worker, listening)
        return was and not listening

    def _call_first(self, worker: Worker, listening: bool) -> None:
        """Learn whether its address leads to it, so that a later refusal means something."""
        answer = self._calls.ask(worker)
        another = isinstance(answer, WhoIs) and answer.worker == worker.id and not is_itself(worker, answer)
        if another and not listening:
            self._lost(Loss(*life_of(worker), *self._calls.meaning(worker, answer), self._now()))

    def _look_into(self, worker: Worker, at: float, seq: int) -> None:
        answer = self._calls.ask(worker)
        if not is_itself(worker, answer):  # else it lives: it lost a connection and will be back
            self._lost(Loss(*life_of(worker), *self._calls.meaning(worker, answer), at, seq))

    def _lost(self, loss: Loss) -> None:
        log.info("presence lost: worker=%s incarnation=%d %s", loss.worker, loss.incarnation, loss.why)
        with self._lock:
            self._losses.append(loss)
        self._ring()
