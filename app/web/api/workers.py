"""Workers over HTTP: as they are registered, with what is live of them."""

from __future__ import annotations

from itertools import islice

from flask import Response

from app.actions import workers
from app.ledger.registry import setups
from app.pool.model import Worker
from app.web.http import blueprints, etags
from app.web.http.auth import READERS
from app.web.http.fleet_filter import FIELDS, Filter
from app.web.http.responses import answer, first_page, name_cursor, name_of
from app.web.http.schemas import LISTED_MOST, FilterWords, WorkerPath, WorkersQuery
from app.web.http.services import services
from app.web.shapes.worker_answers import WorkerAnswer, WorkerList
from app.web.shapes.workers import answers_of, matching

blueprint = blueprints.group("workers", reads=READERS)


@blueprint.get("/admin/workers", responses={200: WorkerList})
def listed(query: WorkersQuery) -> Response:
    """List the workers by name, also those that are down."""
    asked = filter_of(query)
    size = LISTED_MOST if asked.words else query.limit + 1
    rows = list(islice(matching(asked, name_of(query.cursor), size), query.limit + 1))
    page, more = first_page(rows, query.limit, lambda last: name_cursor(last.name, last.id))
    return answer(WorkerList(items=page, next=more))


@blueprint.get("/admin/workers/<id:worker>", responses={200: WorkerAnswer})
def find(path: WorkerPath) -> Response:
    """Look at a worker."""
    return shown(workers.find(services().ledger, path.worker))


def shown(worker: Worker, status: int = 200) -> Response:
    """The worker as an answer; its ETag covers what people may set, so a beat does not change it."""
    return etags.shown(answers_of([worker])[0], setups.version(worker), status)


def filter_of(words: FilterWords) -> Filter:
    """The filter that these words make up."""
    return Filter(tuple((field, word) for field in FIELDS for word in getattr(words, field)))
