"""Workers over HTTP: the registry with what is live of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from flask import Response, abort

from app.ledger import investigations
from app.ledger.registry import setups, workers
from app.pool.model import Worker, WorkerId
from app.web.api.worker_answers import WorkerAnswer, WorkerList, worker_answers
from app.web.http import blueprints, etags
from app.web.http.fleet_filter import FIELDS, Filter
from app.web.http.responses import answer, name_cursor, name_of
from app.web.http.schemas import LISTED_MOST, FilterWords, WorkerPath, WorkersQuery
from app.web.http.services import services

blueprint = blueprints.group("workers", reads=("admin", "read"))


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
    asked = filter_of(query)
    size = LISTED_MOST if asked.words else query.limit + 1
    found = list(islice(matching(asked, name_of(query.cursor), size), query.limit + 1))
    page = found[: query.limit]
    more = name_cursor(page[-1].name, page[-1].id) if len(found) > query.limit else None
    return answer(WorkerList(items=page, next=more))


@blueprint.get("/admin/workers/<id:worker>", responses={200: WorkerAnswer})
def find(path: WorkerPath) -> Response:
    """Look at a worker."""
    return shown(known(path.worker))


def known(worker: str) -> Worker:
    """The worker, or 404."""
    found = workers.find(services().ledger, WorkerId(worker))
    if found is None:
        abort(404, "there is no such worker")
    return found


def shown(worker: Worker, status: int = 200) -> Response:
    """The worker, with an ETag of what people may set: a beat does not change it."""
    return etags.shown(_shown([worker])[0], setups.version(worker), status)


def filter_of(words: FilterWords) -> Filter:
    """The filter that these words are."""
    return Filter(tuple((field, word) for field in FIELDS for word in getattr(words, field)))


def matching(
    asked: Filter,
    place: tuple[str, str] | None = None,
    size: int = LISTED_MOST,
) -> Iterator[WorkerAnswer]:
    """Read part by part, as status and tags are known from beats alone: no more of them than are taken."""
    while part := workers.page(services().ledger, place, size):
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
