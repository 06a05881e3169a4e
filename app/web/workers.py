"""Workers over HTTP: the registry with what is live of it."""

from __future__ import annotations

from flask import Response, abort

from app.ledger import investigations, workers
from app.pool.model import Worker, WorkerId
from app.web import api
from app.web.answers import answer
from app.web.schemas import WorkerPath, WorkersQuery
from app.web.services import services
from app.web.worker_answers import WorkerAnswer, WorkerList, worker_answers

blueprint = api.group("workers", reads=("admin", "read"))


@blueprint.get("/admin/workers", responses={200: WorkerList})
def listed(query: WorkersQuery) -> Response:
    """List the workers by name, also those that are down."""
    shown = _shown(workers.listed(services().ledger, query.decommissioned))
    return answer(WorkerList(items=shown, next=None))


@blueprint.get("/admin/workers/<id:worker>", responses={200: WorkerAnswer})
def find(path: WorkerPath) -> Response:
    """Look at a worker."""
    worker = workers.find(services().ledger, WorkerId(path.worker))
    if worker is None:
        abort(404, "there is no such worker")
    return answer(_shown([worker])[0])


def _shown(found: list[Worker]) -> list[WorkerAnswer]:
    ledger = services().ledger
    one = found[0].id if len(found) == 1 else None
    opened = investigations.open_of(ledger, [worker.id for worker in found])
    return worker_answers(found, services().live, workers.uptimes_s(ledger, one), opened)
