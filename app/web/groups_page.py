"""The pages of groups: the list, one with its members, and its end. Each form is over the API's own function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError
from werkzeug.exceptions import Conflict, HTTPException, PreconditionFailed

from app.ledger import groups, policy, workers
from app.ledger.groups import Group
from app.pool.errors import BadRequest
from app.pool.policy import STRATEGIES
from app.web import groups as api
from app.web.auth import caller
from app.web.groups import GroupBody, NewGroupBody
from app.web.pages import READERS, page
from app.web.problems import field_errors
from app.web.services import services
from app.web.worker_form import Tick, errors_by_field

blueprint = Blueprint("groups_page", __name__)

TICKED_MOST = 500  # more boxes than this are no help; the fleet's filter finds workers better
MEANWHILE = "Somebody has changed this group meanwhile; below is how it is now."
Errors = Mapping[str, str]


@dataclass(frozen=True)
class Members:
    """The boxes of a group's form; `all` is whether they are all workers of the pool, or only its members."""

    ticks: tuple[Tick, ...]
    ids: tuple[str, ...]
    all: bool


@blueprint.get("/settings/groups")
@page(*READERS)
def listed() -> ResponseReturnValue:
    """Every group, and the form that makes one."""
    return _list({}, "")


@blueprint.get("/settings/groups/<group:group>")
@page(*READERS)
def shown(group: str) -> ResponseReturnValue:
    """One group."""
    return _one(api.known(group), {})


@blueprint.get("/settings/groups/<group:group>/delete")
@page("admin")
def ending(group: str) -> ResponseReturnValue:
    """What its end would do, and the form that does it."""
    found = api.known(group)
    return render_template("groups/delete.html", group=found, others=_others(found), error=None)


@blueprint.post("/ui/groups/create")
@page("admin")
def create() -> ResponseReturnValue:
    """Make a group, and go to it."""
    name = request.form.get("name", "").strip()

    def make() -> str:
        body = NewGroupBody.model_validate({"name": name, "strategy": request.form.get("strategy") or None})
        return api.make(body.name, body.strategy, body.workers).name

    made, errors, status = _tried(make)
    if made is None:
        return _list(errors, name), status
    return redirect(f"/settings/groups/{made}", 303)


@blueprint.post("/ui/groups/<group:group>/change")
@page("admin")
def change(group: str) -> ResponseReturnValue:
    """Change it as written; a stale or bad form changes nothing."""
    version = request.form.get("version", "")
    written: dict[str, Any] = {
        "name": request.form.get("name", "").strip(),
        "strategy": request.form.get("strategy") or None,
        "workers": request.form.getlist("workers"),
    }

    def apply() -> str:
        body = GroupBody.model_validate(written)
        return api.apply(group, body.model_dump(), lambda present: present == version).name

    name, errors, status = _tried(apply)
    if name is None:
        return _one(api.known(group), errors, None if status == 412 else written), status
    return redirect(f"/settings/groups/{name}?saved=1", 303)


@blueprint.post("/ui/groups/<group:group>/delete")
@page("admin")
def delete(group: str) -> ResponseReturnValue:
    """Delete it; jobs that wait for it go where the form says."""
    waits = request.form.get("then") == "wait"
    move_to = None if waits else request.form.get("move_to")
    version = request.form.get("version", "")

    def end() -> str:
        api.end(group, move_to, waits, lambda present: present == version)
        return group

    done, errors, status = _tried(end)
    if done is None:
        found = api.known(group)
        error = next(iter(errors.values()))
        return render_template("groups/delete.html", group=found, others=_others(found), error=error), status
    return redirect("/settings/groups", 303)


def _tried(verb: Callable[[], str]) -> tuple[str | None, Errors, int]:
    """What the verb gave; or None, what is wrong by field ("": the whole), and the status that says so."""
    try:
        return verb(), {}, 303
    except ValidationError as error:
        return None, errors_by_field(field_errors(error)), 422
    except BadRequest as error:
        return None, errors_by_field([(pointer.lstrip("?"), why) for pointer, why in error.errors]), 422
    except PreconditionFailed:
        return None, {"": MEANWHILE}, 412
    except Conflict as error:
        return None, {"": _sentence(error)}, 409


def _sentence(error: HTTPException) -> str:
    words = error.description or ""
    return f"{words[:1].upper()}{words[1:]}."


def _list(errors: Errors, name: str) -> str:
    ledger = services().ledger
    found = groups.listed(ledger)
    return render_template(
        "groups/list.html",
        groups=found,
        errors=errors,
        name=name,
        strategies=STRATEGIES,
        pools=policy.read(ledger).strategy,
        writes=caller().kind == "admin",
    )


def _one(group: Group, errors: Errors, written: Mapping[str, Any] | None = None) -> str:
    values = written or {"name": group.name, "strategy": group.strategy, "workers": group.workers}
    return render_template(
        "groups/group.html",
        group=group,
        values=values,
        members=_members(group, values["workers"]),
        others=_others(group),
        errors=errors,
        strategies=STRATEGIES,
        pools=policy.read(services().ledger).strategy,
        writes=caller().kind == "admin",
    )


def _members(group: Group, ticked: list[str]) -> Members:
    everyone = workers.listed(services().ledger)
    whole = len(everyone) <= TICKED_MOST
    offered = [worker for worker in everyone if whole or worker.id in group.workers]
    ticks = tuple(
        Tick(worker.name, worker.id in ticked, worker.hostname if worker.hostname != worker.name else "")
        for worker in offered
    )
    return Members(ticks, tuple(worker.id for worker in offered), whole)


def _others(group: Group) -> list[str]:
    return [name for name in groups.names(services().ledger) if name != group.name]
