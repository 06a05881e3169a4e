"""Deaths: a job under which workers die again and again, without a checkpoint in between, pauses and then fails.

What counts is in docs/failover.md. Everything is read anew from the attempts, in the transaction that ends the newest
of them, so that whoever sees a death, and however often, counts the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.ledger import events
from app.ledger.db import Ledger
from app.pool.backoff import Backoff
from app.pool.model import JobId

# The second try is made at once; later ones leave the workers, and all else that runs there, some time. The jitter is
# large: jobs that were lost together begin apart, and the next death tells more of which it was.
PAUSE = Backoff(30.0, 600.0, least=0.5)
NOUNS = {
    frozenset({True}): ("worker", "workers"),
    frozenset({False}): ("slot process", "slot processes"),
    frozenset({True, False}): ("worker or slot process", "workers and slot processes"),
}


@dataclass(frozen=True)
class LostAttempt:
    """An attempt that was lost with its worker, or (not `worker_died`) with its slot process."""

    name: str  # of the worker
    worker_died: bool
    returned: bool  # the same life of the agent came back: it was cut off, not dead
    beside_worse: bool  # beside it ran a job that had been lost more often


def follow(tx: Ledger, jobs: Iterable[JobId], most: int) -> None:
    """Let each of these pending jobs, of which an attempt was just lost, go on, pause, or fail after `most` deaths."""
    for job in jobs:
        lost = [LostAttempt(**row) for row in tx.all("deaths_since_checkpoint", job=job)]
        suspect = [each for each in lost if not each.beside_worse]
        deaths = [each for each in suspect if not each.returned]
        if len(deaths) >= most:
            _fail(tx, job, words(deaths))
        elif len(suspect) > 1:
            _pause(tx, job, PAUSE.after(len(suspect) - 1), _places(suspect))


def words(lost: Sequence[LostAttempt]) -> str:
    """What died, and where: "3 workers died under it, without a checkpoint in between: vm-1 twice, vm-2"."""
    one, many = NOUNS[frozenset(each.worker_died for each in lost)]
    number = f"{len(lost)} {one if len(lost) == 1 else many}"
    return f"{number} died under it, without a checkpoint in between: {_places(lost)}"


def _places(lost: Sequence[LostAttempt]) -> str:
    times = Counter(each.name for each in lost)  # in the order in which they died
    return ", ".join(name + _times(number) for name, number in times.items())


def _times(number: int) -> str:
    return "" if number == 1 else " twice" if number == 2 else f" {number} times"


def _fail(tx: Ledger, job: JobId, error: str) -> None:
    if tx.do("deaths_fail", job=job, error=error):
        events.record(tx, "job.failed", error, job=job)


def _pause(tx: Ledger, job: JobId, pause_s: float, places: str) -> None:
    why = f"it was lost again and again, without a checkpoint in between ({places}); pauses until the next try"
    tx.do("deaths_pause", job=job, pause_s=pause_s, why=why)
