"""Presence: who listens on a worker's bell, and what a call tells when nobody does any more.

The kernel closes a dead agent's subscription within milliseconds, so its loss is the fastest hint that
there is; a hint only, because a healthy agent loses a connection too. What follows from a verdict is
health's to decide. Runs in a thread of its own: no call to an agent's address may delay the leader's loop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any

from app.pool.call import NoAnswer, who_is
from app.pool.keys import Keys
from app.pool.model import Worker, WorkerId
from app.pool.protocol import WhoIs

log = logging.getLogger(__name__)

ASK_S = 0.1
CALL_S = 1.0
CALLERS = 16  # calls at once; a rack that loses its switch is called in a few rounds
LOOPBACK = ("127.", "::1", "localhost")


class Word(Enum):
    """What is known of a worker whose presence was lost."""

    DEAD = "dead"  # its host refused the call, or another incarnation or boot answers there
    SILENT = "silent"  # no answer, or no address: down unless a newer beat comes soon


@dataclass(frozen=True)
class Verdict:
    """What the loss of a presence led to."""

    worker: WorkerId
    incarnation: int
    word: Word
    why: str


Life = tuple[WorkerId, int]


class Presence:
    """Watches the bells of the workers that it is told of; `verdicts` hands out what it found."""

    def __init__(self, redis: Any, keys: Keys, boot_id: str, ring: Callable[[], None]) -> None:
        self._redis = redis
        self._keys = keys
        self._boot_id = boot_id
        self._ring = ring
        self._lock = threading.Lock()
        self._watched: dict[WorkerId, Worker] = {}
        self._seen: dict[Life, bool] = {}  # this leader saw it listen: is it listening still?
        self._answered: set[Life] = set()  # this leader called it, and it answered for itself
        self._called: set[Life] = set()
        self._verdicts: list[Verdict] = []
        self._run_id: str | None = None
        self._callers = ThreadPoolExecutor(CALLERS, thread_name_prefix="call")

    def watch(self, workers: Iterable[Worker]) -> None:
        """From now on watch these workers' present incarnations, and forget all others."""
        with self._lock:
            self._watched = {worker.id: worker for worker in workers}
            lives = {(worker.id, worker.incarnation) for worker in self._watched.values()}
            self._seen = {life: there for life, there in self._seen.items() if life in lives}
            self._answered &= lives
            self._called &= lives

    def verdicts(self) -> list[Verdict]:
        """What was found since the last call."""
        with self._lock:
            found, self._verdicts = self._verdicts, []
        return found

    def step(self) -> None:
        """Ask once who listens, and look into each loss."""
        with self._lock:
            watched = list(self._watched.values())
        if not watched:
            return
        listening = self._listening(watched)
        for worker in watched:
            self._note(worker, listening[worker.id])

    def close(self) -> None:
        """Call nobody any more."""
        self._callers.shutdown(wait=False, cancel_futures=True)

    def _listening(self, workers: Sequence[Worker]) -> dict[WorkerId, bool]:
        bells = {self._keys.bell_of(worker.id): worker.id for worker in workers}
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.info("server")
            pipe.pubsub_numsub(*bells)
            server, counts = pipe.execute()
        if server["run_id"] != self._run_id:
            # Another run of Redis: nobody has had time to subscribe, so nobody has been lost.
            self._run_id = server["run_id"]
            with self._lock:
                self._seen.clear()
        return {bells[bell]: count > 0 for bell, count in counts}

    def _note(self, worker: Worker, listening: bool) -> None:
        life = (worker.id, worker.incarnation)
        with self._lock:
            was = self._seen.get(life)
            if listening or was:
                self._seen[life] = listening
            first_call = listening and life not in self._called
            if first_call:
                self._called.add(life)
        if first_call and worker.address and worker.port:
            self._callers.submit(self._call_present, worker)
        if was and not listening:
            self._callers.submit(self._call_lost, worker)

    def _call_present(self, worker: Worker) -> None:
        """Learn whether its address leads to it, so that a later refusal means something."""
        answer = self._ask(worker)
        if isinstance(answer, WhoIs) and (answer.worker, answer.incarnation) == (worker.id, worker.incarnation):
            with self._lock:
                self._answered.add((worker.id, worker.incarnation))

    def _call_lost(self, worker: Worker) -> None:
        verdict = self._verdict(worker, self._ask(worker))
        if verdict is None:
            return
        log.info("presence lost: worker=%s incarnation=%d %s", worker.id, worker.incarnation, verdict.why)
        with self._lock:
            self._verdicts.append(verdict)
        self._ring()

    def _ask(self, worker: Worker) -> WhoIs | NoAnswer:
        if not worker.address or not worker.port:
            return NoAnswer.SILENT
        return who_is(worker.address, worker.port, CALL_S)

    def _verdict(self, worker: Worker, answer: WhoIs | NoAnswer) -> Verdict | None:
        life = (worker.id, worker.incarnation)
        if isinstance(answer, WhoIs):
            if (answer.worker, answer.incarnation, answer.boot_id) == (*life, worker.boot_id):
                return None  # alive: it lost a connection and will be back
            return Verdict(*life, Word.DEAD, f"incarnation {answer.incarnation} answers at its address")
        if answer is NoAnswer.REFUSED and self._refusal_proves(worker):
            return Verdict(*life, Word.DEAD, "its host answers, but its process is gone")
        return Verdict(*life, Word.SILENT, "its connection is gone and its address does not answer")

    def _refusal_proves(self, worker: Worker) -> bool:
        """Only where this incarnation had answered there; and loopback is this host's only by its boot id."""
        with self._lock:
            answered = (worker.id, worker.incarnation) in self._answered
        loopback = (worker.address or "").startswith(LOOPBACK)
        return answered and (not loopback or worker.boot_id == self._boot_id)
