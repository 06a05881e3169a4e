"""Actions on workers over HTTP: pause, resume, unblock one; one action on many, by name or by the fleet's filter."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response
from pydantic import BaseModel

from app.actions import workers
from app.actions.errors import Conflict
from app.actions.workers import Action, Instruction
from app.pool.errors import BadFields
from app.pool.model import WorkerId
from app.web.api.workers import filter_of, shown
from app.web.http import blueprints
from app.web.http.auth import caller
from app.web.http.responses import answer
from app.web.http.schemas import WorkerPath
from app.web.http.services import services
from app.web.shapes.worker_answers import WorkerAnswer
from app.web.shapes.worker_bodies import ActionBody, PauseBody, UnblockBody
from app.web.shapes.workers import matching

blueprint = blueprints.group("worker actions", reads=())

READS: Mapping[Action, frozenset[str]] = {  # of a body's fields, beside those that name workers
    "tag": frozenset({"tags"}),
    "untag": frozenset({"tags"}),
    "group": frozenset({"groups"}),
    "ungroup": frozenset({"groups"}),
    "pause": frozenset({"until", "for_s", "note"}),
    "resume": frozenset(),
    "unblock": frozenset({"workflow"}),
}
AT_ONCE = frozenset({"tag", "untag", "group", "ungroup"})  # 200; the others take effect later: 202


class ResultAnswer(BaseModel):
    """What became of it for one worker."""

    worker: str
    name: str | None
    ok: bool
    detail: str


class ActionAnswer(BaseModel):
    """A result for each worker, and how many of them are good."""

    items: list[ResultAnswer]
    done: int


@blueprint.post("/admin/workers/<id:worker>/pause", responses={202: WorkerAnswer})
def pause(path: WorkerPath, body: PauseBody) -> Response:
    """Give a worker no new jobs until a time or until it is resumed; what runs there is finished."""
    return _one(path, Instruction("pause", pause=body.pause()))


@blueprint.post("/admin/workers/<id:worker>/resume", responses={202: WorkerAnswer})
def resume(path: WorkerPath) -> Response:
    """Let a paused worker take jobs again."""
    return _one(path, Instruction("resume"))


@blueprint.post("/admin/workers/<id:worker>/unblock", responses={202: WorkerAnswer})
def unblock(path: WorkerPath, body: UnblockBody) -> Response:
    """Let a worker run again what it is blocked for."""
    return _one(path, Instruction("unblock", workflow=body.workflow))


@blueprint.post("/admin/workers/actions", responses={200: ActionAnswer, 202: ActionAnswer})
def act(body: ActionBody) -> Response:
    """Do one thing to many workers, with a result for each. Only a body that cannot be taken fails as a whole."""
    _refuse_unread(body)
    instruction = Instruction(body.action, tuple(body.tags), tuple(body.groups), body.pause(), body.workflow)
    outcomes = workers.perform(services(), caller(), _chosen(body), instruction)
    items = [ResultAnswer(**vars(outcome)) for outcome in outcomes]
    status = 200 if body.action in AT_ONCE else 202
    return answer(ActionAnswer(items=items, done=sum(outcome.ok for outcome in outcomes)), status)


def _one(path: WorkerPath, instruction: Instruction) -> Response:
    worker = workers.find(services().ledger, path.worker)
    [outcome] = workers.perform(services(), caller(), [worker.id], instruction)
    if not outcome.ok:
        raise Conflict(f"{outcome.name or 'it'} {outcome.detail}")
    return shown(workers.find(services().ledger, path.worker), 202)


def _refuse_unread(body: ActionBody) -> None:
    """Refuse fields that this action does not read: they are somebody's mistake."""
    unread = sorted(frozenset().union(*READS.values()) - READS[body.action])
    errors = [(f"/{name}", f"{body.action} does not read it") for name in unread if getattr(body, name)]
    if errors:
        raise BadFields(*errors)


def _chosen(body: ActionBody) -> list[WorkerId]:
    if (body.workers is None) == (body.filter is None):
        raise BadFields(("/workers", "name either workers or a filter"))
    if body.filter is not None:
        return [WorkerId(worker.id) for worker in matching(filter_of(body.filter))]
    return [WorkerId(worker) for worker in dict.fromkeys(body.workers or ())]
