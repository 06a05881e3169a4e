"""Calls to the addresses that workers announced: who answers there, and what an answer proves.

A call may take a second, so it is made by threads of its own; what was learned is remembered for each
incarnation. An answer by the worker itself proves that it lives. An answer by another incarnation of it,
or by another boot of its host, proves that it is dead. A refusal proves that too, but only where this
incarnation has answered before: else the address may never have led to it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Any

from app.pool.agent_http import NoAnswer, WhoIs, who_is
from app.pool.model import Worker, WorkerId

CALL_S = 1.0
CALL_AGAIN_S = 10.0  # one that listens and has not answered yet
CALLERS = 16  # calls at once; a rack that loses its switch is called in a few rounds
LOOPBACK = ("127.", "::1", "localhost")

Life = tuple[WorkerId, int]  # a worker and its incarnation
Answer = WhoIs | NoAnswer


class LossKind(Enum):
    """What is known of a worker whose presence was lost."""

    DEAD = "dead"  # its host refused the call, or another incarnation or boot answers there
    SILENT = "silent"  # no answer, or no address: down unless a newer beat comes soon


class Calls:
    """The callers' threads and what they learned. `boot_id` is that of the leader's own host."""

    def __init__(self, boot_id: str, now: Callable[[], float]) -> None:
        self._boot_id = boot_id
        self._now = now
        self._lock = threading.Lock()
        self._answered: set[Life] = set()  # it was called, and answered for itself
        self._reached: dict[Life, bool] = {}  # by its last call
        self._due: dict[tuple[Life, bool], float] = {}  # by life and whether it listens: when it is called again
        self._callers = ThreadPoolExecutor(CALLERS, thread_name_prefix="call")

    def keep(self, lives: Collection[Life]) -> None:
        """Forget all other lives than these."""
        with self._lock:
            self._answered &= set(lives)
            self._reached = {life: there for life, there in self._reached.items() if life in lives}
            self._due = {key: due for key, due in self._due.items() if key[0] in lives}

    def reached(self, worker: Worker) -> bool:
        """True when the last call to its address was answered by itself."""
        with self._lock:
            return self._reached.get(life_of(worker), False)

    def unanswered(self, workers: Sequence[tuple[int, Worker]]) -> list[int]:
        """The numbers of those of these numbered workers that have never answered for themselves."""
        with self._lock:
            return [number for number, worker in workers if life_of(worker) not in self._answered]

    def is_due(self, worker: Worker, listening: bool) -> bool:
        """True when it has not answered yet and is to be called now; then it is not due again for a while."""
        life = life_of(worker)
        with self._lock:
            due = life not in self._answered and self._now() >= self._due.get((life, listening), 0.0)
            if due:
                # One that does not listen is called once: another incarnation may live there already.
                self._due[life, listening] = self._now() + CALL_AGAIN_S if listening else math.inf
        return due and has_address(worker)

    def begin(self, task: Callable[..., Any], *arguments: object) -> None:
        """Run a task that makes a call in a thread of the callers."""
        self._callers.submit(task, *arguments)

    def ask(self, worker: Worker) -> Answer:
        """Who answers on its address now; takes up to CALL_S, and raises nothing."""
        if not worker.address or not worker.port:
            return NoAnswer.SILENT
        answer = who_is(worker.address, worker.port, CALL_S)
        itself = is_itself(worker, answer)
        with self._lock:
            self._reached[life_of(worker)] = itself
            if itself:
                self._answered.add(life_of(worker))
        return answer

    def meaning(self, worker: Worker, answer: Answer) -> tuple[LossKind, str]:
        """What this answer tells of a worker that does not listen and has not answered for itself; and in words."""
        if isinstance(answer, WhoIs) and answer.worker == worker.id:
            return LossKind.DEAD, f"incarnation {answer.incarnation} answers at its address"
        # Another worker's answer tells what a refusal tells: on this port it is not.
        if answer is not NoAnswer.SILENT and self._refusal_proves(worker):
            return LossKind.DEAD, "its host answers, but its process is gone"
        return LossKind.SILENT, "its connection is gone and its address does not answer"

    def close(self) -> None:
        """Make no further call."""
        self._callers.shutdown(wait=False, cancel_futures=True)

    def _refusal_proves(self, worker: Worker) -> bool:
        """True where this incarnation has answered; a loopback address counts only with this host's boot id."""
        with self._lock:
            answered = life_of(worker) in self._answered
        loopback = (worker.address or "").startswith(LOOPBACK)
        return answered and (not loopback or worker.boot_id == self._boot_id)


def life_of(worker: Worker) -> Life:
    """This worker's present incarnation."""
    return worker.id, worker.incarnation


def has_address(worker: Worker) -> bool:
    """True when it announced an address on which it can be called."""
    return bool(worker.address and worker.port)


def is_itself(worker: Worker, answer: Answer) -> bool:
    """True when this incarnation of the worker has answered, on the boot of its host on which it joined."""
    if not isinstance(answer, WhoIs):
        return False
    return (answer.worker, answer.incarnation, answer.boot_id) == (worker.id, worker.incarnation, worker.boot_id)
