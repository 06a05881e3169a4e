"""Actions on workers from the pages: set up, pause, resume, unblock; one action on all workers that are ticked."""

from __future__ import annotations

from urllib.parse import parse_qsl

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict

from app.actions import worker_setup, workers
from app.actions.workers import Instruction
from app.ledger.registry.pauses import Pause
from app.pool.errors import BadRequest
from app.pool.model import WorkerId
from app.pool.status import sentence
from app.web.http import etags, flashes, forms
from app.web.http.auth import caller
from app.web.http.fleet_filter import Filter
from app.web.http.forms import tried
from app.web.http.problems import field_errors
from app.web.http.services import services
from app.web.pages import fleet, worker_form
from app.web.pages import worker as worker_page
from app.web.pages.base import page
from app.web.shapes.worker_bodies import ActionBody, PauseBody, WorkerBody
from app.web.shapes.workers import matching

blueprint = Blueprint("worker_verbs", __name__)


@blueprint.post("/ui/workers/<id:worker>/change")
@page("admin")
def change(worker: str) -> ResponseReturnValue:
    """Set the worker up as written; a stale or bad form is shown again and changes nothing."""

    def apply() -> str:
        body = WorkerBody.model_validate(worker_form.read(request.form))
        changes = body.model_dump(exclude_unset=True)
        worker_setup.change(services(), caller(), worker, changes, etags.seen(request.form))
        return f"/workers/{worker}?saved=1#setup"

    next_page, errors, status = tried(apply)
    if next_page is None:
        return worker_page.whole(
            workers.find(services().ledger, worker), None if status == 412 else request.form, errors
        ), status
    return redirect(next_page, 303)


@blueprint.post("/ui/workers/<id:worker>/pause")
@page("admin")
def pause(worker: str) -> ResponseReturnValue:
    """Give the worker no new jobs for a time."""
    return _one(worker, Instruction("pause", pause=_pause()))


@blueprint.post("/ui/workers/<id:worker>/resume")
@page("admin")
def resume(worker: str) -> ResponseReturnValue:
    """Let the worker take jobs again."""
    return _one(worker, Instruction("resume"))


@blueprint.post("/ui/workers/<id:worker>/unblock")
@page("admin")
def unblock(worker: str) -> ResponseReturnValue:
    """Let the worker run again what it is blocked for."""
    return _one(worker, Instruction("unblock", workflow=request.form.get("workflow") or None))


@blueprint.post("/ui/workers/actions")
@page("admin")
def act() -> ResponseReturnValue:
    """Do one thing to the workers that are ticked, or to all that the filter finds; then show the fleet again.

    A form that cannot be taken is shown again as it was written.
    """
    asked = Filter.of(MultiDict(parse_qsl(request.form.get("query", "").lstrip("?"))))
    if request.form.get("all"):
        chosen = [WorkerId(worker.id) for worker in matching(asked)]
    else:
        chosen = [WorkerId(worker) for worker in dict.fromkeys(request.form.getlist("worker"))]
    try:
        if not chosen and not request.form.get("all"):
            raise BadRequest("tick at least one worker")
        flashes.tell(workers.perform(services(), caller(), chosen, _instruction()) if chosen else [])
    except BadRequest as error:
        return fleet.whole(asked, request.form, _nothing_done(error)), 422
    return redirect(f"/{asked.url(asked.page)}", 303)


def _one(worker: str, instruction: Instruction) -> ResponseReturnValue:
    chosen = [workers.find(services().ledger, worker).id]
    flashes.tell(workers.perform(services(), caller(), chosen, instruction))
    return redirect(f"/workers/{worker}", 303)


def _nothing_done(error: BadRequest) -> str:
    named = forms.by_field(error.errors)
    words = "; ".join(f"{field}: {why}" for field, why in named.items()) or str(error)
    return f"Nothing was done. {sentence(words)}"


def _instruction() -> Instruction:
    """The instruction in the form of the fleet's page. Raises BadRequest."""
    action = request.form.get("action", "")
    facts = {
        "action": action,
        "tags": request.form.get("tags", "").replace(",", " ").split() if action in ("tag", "untag") else [],
        "groups": request.form.getlist("groups") if action in ("group", "ungroup") else [],
    }
    try:
        body = ActionBody.model_validate(facts)
    except ValidationError as error:
        raise BadRequest("this cannot be done", field_errors(error)) from error
    pause = _pause() if body.action == "pause" else workers.FOREVER
    return Instruction(body.action, tuple(body.tags), tuple(body.groups), pause)


def _pause() -> Pause:
    """The pause in the form; without a time it lasts until somebody resumes. Raises BadRequest."""
    seconds = request.form.get("for_s", "")
    try:
        body = PauseBody.model_validate(
            {"for_s": worker_form.number(seconds), "note": request.form.get("note", "").strip()}
        )
    except ValidationError as error:
        raise BadRequest("it cannot be paused so", field_errors(error)) from error
    return body.pause()
