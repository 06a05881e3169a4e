"""What people set of a worker over HTTP: tags, groups, narrowing, slots, queue depth; all or none.

The ETag is the setup's version, so of two people who change what they saw the second is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from flask import Response
from pydantic import Field

from app.actions import workers as acts
from app.ledger.registry import setups
from app.ledger.registry.setups import Setup
from app.pool.errors import BadFields
from app.pool.model import LIMITS, Worker
from app.pool.policy import ABOUT
from app.web.api import workers
from app.web.api.worker_answers import WorkerAnswer
from app.web.http import blueprints, etags
from app.web.http.auth import caller
from app.web.http.etags import Matches
from app.web.http.schemas import WHOLE, Body, GroupName, MatchHeader, Tag, Word, WorkerPath
from app.web.http.services import services

blueprint = blueprints.group("worker setup", reads=())

MOST_SLOTS = 64
MOST_DEPTH = int(ABOUT["queue_depth"].high or 0)


class WorkerBody(Body):
    """What is to be changed; what is not named stays."""

    tags: list[Tag] = Field([], max_length=LIMITS.tags, description="those that its agent reports are not among them")
    groups: list[GroupName] = Field([], max_length=LIMITS.tags)
    workflows: list[Word] = Field(
        [], max_length=LIMITS.tags, description="the only ones of those that it offers; none: all"
    )
    slots: Annotated[int, Field(ge=1, le=MOST_SLOTS), WHOLE] | None = Field(
        None, description="how many jobs it runs at a time; null: as many as its agent offers"
    )
    queue_depth: Annotated[int, Field(ge=0, le=MOST_DEPTH), WHOLE] | None = Field(
        None, description="how many jobs may wait behind its slots; null: the pool's setting"
    )


@blueprint.patch("/admin/workers/<id:worker>", responses={200: WorkerAnswer, 412: blueprints.problem_response()})
def change(path: WorkerPath, header: MatchHeader, body: WorkerBody) -> Response:
    """Change what people set of a worker; it holds at once for jobs that have not started."""
    return workers.shown(apply(path.worker, body.model_dump(exclude_unset=True), etags.condition(header)))


def apply(worker: str, changes: Mapping[str, Any], matches: Matches | None = None) -> Worker:
    """The worker with these changes, written and rung. Raises BadRequest by pointer; 404, 409; 412 where its version
    does not match."""
    found = workers.known(worker)

    def wish(present: Worker) -> Setup:
        etags.check(matches, setups.version(present))
        _check(present, changes.get("workflows", ()))
        return _changed(present, changes)

    with services().ledger.transaction() as tx:
        acts.pin_groups(tx, changes.get("groups", ()))
        setups.change(tx, [found.id], wish, caller().owner)
    acts.ring([found.id])
    return workers.known(worker)


def _changed(worker: Worker, changes: Mapping[str, Any]) -> Setup:
    before = setups.setup_of(worker)
    lists = {name: tuple(sorted(set(changes[name]))) for name in ("tags", "groups", "workflows") if name in changes}
    numbers = {name: changes[name] for name in ("slots", "queue_depth") if name in changes}
    return Setup(**{**vars(before), **lists, **numbers})


def _check(worker: Worker, narrowing: list[str]) -> None:
    """A worker that is narrowed to what it does not have would run nothing, and nobody would see why."""
    offered = {workflow.name for workflow in worker.workflows}
    known = offered | set(worker.allowed_workflows)
    errors = [
        (f"/workflows/{place}", f"it does not offer {name}; it offers {', '.join(sorted(offered)) or 'nothing'}")
        for place, name in enumerate(narrowing)
        if name not in known
    ]
    if errors:
        raise BadFields(*errors)
