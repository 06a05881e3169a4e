"""Workers with what is live of them, and those that the fleet's filter finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.ledger import investigations
from app.ledger.registry import workers
from app.pool.model import Worker
from app.web.http.fleet_filter import Filter
from app.web.http.schemas import LISTED_MOST
from app.web.http.services import services
from app.web.shapes.worker_answers import WorkerAnswer, worker_answers


@dataclass(frozen=True)
class _Facts:
    """A worker as filters see it: people's tags and those that its agent reports are one."""

    name: str
    hostname: str
    status: str
    tags: Sequence[str]
    groups: Sequence[str]
    investigation: str | None


def answers_of(registered: list[Worker]) -> list[WorkerAnswer]:
    """Workers with beats, leases, scores, uptimes and open investigations. Raises Unavailable, RedisError."""
    ledger, ids = services().ledger, [worker.id for worker in registered]
    uptimes, open_ones = workers.uptimes_s(ledger, ids), investigations.open_of(ledger, ids)
    return worker_answers(registered, services().live, uptimes, open_ones)


def matching(
    asked: Filter,
    place: tuple[str, str] | None = None,
    size: int = LISTED_MOST,
) -> Iterator[WorkerAnswer]:
    """The workers that the filter finds, by name, after this (name, id).

    Read `size` at a time, because status and tags are known from beats alone: no more are read than are taken.
    """
    while part := workers.page(services().ledger, place, size):
        yield from (worker for worker in answers_of(part) if asked.matches(_facts(worker)))
        if len(part) < size:
            return
        place = part[-1].name, part[-1].id


def _facts(worker: WorkerAnswer) -> _Facts:
    tags = [*worker.tags, *worker.dynamic_tags]
    return _Facts(worker.name, worker.hostname, worker.status, tags, worker.groups, worker.investigation)
