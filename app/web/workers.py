"""Workers over HTTP: the registry with what is live of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from flask import Response, abort

from app.ledger import investigations, workers
from app.pool.model import Worker, WorkerId
from app.web import api
from app.web.answers import answer, name_cursor, name_of
from app.web.fleet_filter import FIELDS, Filter
from app.web.schemas import LISTED_MOST, WorkerPath, WorkersQuery
from app.web.services import services
from app.web.worker_answers import WorkerAnswer, WorkerList, worker_answers

blueprint = api.group("workers", reads=("admin", "read"))


@dataclass(frozen=True)
class _Facts:
    """A worker as filters see it: its own tags and those that it reports are one."""

    name: str
    hostname: str
    status: str
    tags: Sequence[str]
    groups: Sequence[str]
    investigation: str | None


@blueprint.get("/admin/workers", responses={200: WorkerList})
def listed(query: WorkersQuery) -> Response:
    """List the workers by name, also those that are down."""
    found = list(islice(_matching(query), query.limit + 1))
    page = found[: query.limit]
    more = name_cursor(page[-1].name, page[-1].id) if len(found) > query.limit else None
    return answer(WorkerList(items=page, next=more))


@blueprint.get("/admin/workers/<id:worker>", responses={200: WorkerAnswer})
def find(path: WorkerPath) -> Response:
    """Look at a worker."""
    worker = workers.find(services().ledger, WorkerId(path.worker))
    if worker is None:
        abort(404, "there is no such worker")
    return answer(_shown([worker])[0])


def _matching(query: WorkersQuery) -> Iterator[WorkerAnswer]:
    """Read part by part, as status and tags are known from beats alone: no more of them than the page takes."""
    asked = Filter(tuple((field, word) for field in FIELDS for word in getattr(query, field)))
    size = LISTED_MOST if asked.words else query.limit + 1
    place = name_of(query.cursor)
    while part := workers.page(services().ledger, query.decommissioned, place, size):
        yield from (each for each in _shown(part) if asked.matches(_facts(each)))
        if len(part) < size:
            return
        place = part[-1].name, part[-1].id


def _facts(worker: WorkerAnswer) -> _Facts:
    tags = [*worker.tags, *worker.dynamic_tags]
    return _Facts(worker.name, worker.hostname, worker.status, tags, worker.groups, worker.investigation)


def _shown(found: list[Worker]) -> list[WorkerAnswer]:
    ledger, ids = services().ledger, [worker.id for worker in found]
    return worker_answers(found, services().live, workers.uptimes_s(ledger, ids), investigations.open_of(ledger, ids))
