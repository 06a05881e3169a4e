"""The pages of groups: the list, one group with its members, and the form that deletes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from app.actions import groups
from app.ledger import groups as ledger_groups
from app.ledger import policy
from app.ledger.groups import Group
from app.ledger.registry import workers
from app.pool.model import Worker
from app.pool.policy import STRATEGIES
from app.web.http import etags
from app.web.http.auth import READERS, caller
from app.web.http.filters import short
from app.web.http.forms import Errors, tried
from app.web.http.services import services
from app.web.pages.base import page
from app.web.pages.worker_form import Tick
from app.web.shapes.group_bodies import GroupBody, NewGroupBody

blueprint = Blueprint("groups_page", __name__)

TICKED_MOST = 500  # more boxes than this are no help; the fleet's filter finds workers better


@dataclass(frozen=True)
class Members:
    """The boxes of a group's form; `all`: one for each worker of the pool, else for each member only."""

    ticks: tuple[Tick, ...]
    ids: tuple[str, ...]
    all: bool


@blueprint.get("/settings/groups")
@page(*READERS)
def listed() -> ResponseReturnValue:
    """The page of all groups, with the form that makes one."""
    return _list({}, {})


@blueprint.get("/settings/groups/<group:group>")
@page(*READERS)
def shown(group: str) -> ResponseReturnValue:
    """The page of one group."""
    return _one(groups.find(services().ledger, group), {})


@blueprint.get("/settings/groups/<group:group>/delete")
@page("admin")
def ending(group: str) -> ResponseReturnValue:
    """The page that says what deleting a group would do, with the form that deletes it."""
    found = groups.find(services().ledger, group)
    return render_template("groups/delete.html", group=found, others=_others(found), error=None)


@blueprint.post("/ui/groups/create")
@page("admin")
def create() -> ResponseReturnValue:
    """Make a group, and go to its page."""
    written = _written()

    def make() -> str:
        body = NewGroupBody.model_validate(written)
        return groups.make(services(), caller(), body.name, body.strategy, body.workers).name

    made, errors, status = tried(make)
    if made is None:
        return _list(errors, written), status
    return redirect(f"/settings/groups/{made}", 303)


@blueprint.post("/ui/groups/<group:group>/change")
@page("admin")
def change(group: str) -> ResponseReturnValue:
    """Change the group as written; a stale or bad form is shown again and changes nothing."""
    written = {**_written(), "workers": request.form.getlist("workers")}

    def apply() -> str:
        body = GroupBody.model_validate(written)
        changes = body.model_dump()
        return groups.change(services(), caller(), group, changes, etags.seen(request.form)).name

    name, errors, status = tried(apply)
    if name is None:
        return _one(groups.find(services().ledger, group), errors, None if status == 412 else written), status
    return redirect(f"/settings/groups/{name}?saved=1", 303)


@blueprint.post("/ui/groups/<group:group>/delete")
@page("admin")
def delete(group: str) -> ResponseReturnValue:
    """Delete the group; jobs that wait for it go where the form says."""
    waits = request.form.get("then") == "wait"
    move_to = None if waits else request.form.get("move_to") or None

    def end() -> str:
        groups.delete(services(), caller(), group, move_to, waits, etags.seen(request.form))
        return group

    done, errors, status = tried(end)
    if done is None:
        found = groups.find(services().ledger, group)
        error = _undecided(found) if status == 409 and found.waiting else next(iter(errors.values()))
        return render_template("groups/delete.html", group=found, others=_others(found), error=error), status
    return redirect("/settings/groups", 303)


def _undecided(group: Group) -> str:
    """The error for a person who read that no job waits, when by now some do."""
    return f"Nothing was deleted: by now {groups.waiting_words(group)}. Choose below what comes of that."


def _written() -> dict[str, Any]:
    return {"name": request.form.get("name", "").strip(), "strategy": request.form.get("strategy") or None}


def _list(errors: Errors, written: Mapping[str, Any]) -> str:
    ledger = services().ledger
    return render_template(
        "groups/list.html",
        groups=ledger_groups.listed(ledger),
        errors=errors,
        written=written,
        strategies=STRATEGIES,
        pools=policy.read(ledger).strategy,
        writes=caller().role == "admin",
    )


def _one(group: Group, errors: Errors, written: Mapping[str, Any] | None = None) -> str:
    values = written or {"name": group.name, "strategy": group.strategy, "workers": group.workers}
    return render_template(
        "groups/group.html",
        group=group,
        version=etags.of_form(group.version, None if written is None else request.form),
        values=values,
        members=_members(group, values["workers"]),
        others=_others(group),
        errors=errors,
        strategies=STRATEGIES,
        pools=policy.read(services().ledger).strategy,
        writes=caller().role == "admin",
    )


def _members(group: Group, ticked: list[str]) -> Members:
    everyone, inside, chosen = workers.listed(services().ledger), set(group.workers), set(ticked)
    whole = len(everyone) <= TICKED_MOST
    offered = [worker for worker in everyone if whole or worker.id in inside]
    named = Counter(worker.name for worker in offered)
    ticks = tuple(Tick(w.name, w.id in chosen, _note(w, named[w.name] > 1)) for w in offered)
    return Members(ticks, tuple(worker.id for worker in offered), whole)


def _note(worker: Worker, twice: bool) -> str:
    """What tells a worker from others: its host if named otherwise, and its id if its name is given `twice`."""
    host = [f"on {worker.hostname}"] if worker.hostname != worker.name else []
    return ", ".join([*host, *([short(worker.id)] if twice else [])])


def _others(group: Group) -> list[str]:
    return [name for name in ledger_groups.names(services().ledger) if name != group.name]
