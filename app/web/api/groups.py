"""Groups over HTTP: named sets of workers that jobs may be bound to.

The ETag covers what people set: name, strategy, members. A group that jobs wait for is deleted only
with a word about those jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from flask import Response, abort
from pydantic import BaseModel, Field

from app.actions import workers as acts
from app.ledger import events, groups
from app.ledger.db import Ledger
from app.ledger.groups import Group
from app.ledger.registry import pauses
from app.pool.errors import BadFields
from app.pool.model import WorkerId
from app.pool.policy import STRATEGIES
from app.web.http import blueprints, etags
from app.web.http.auth import caller
from app.web.http.etags import Matches
from app.web.http.responses import answer
from app.web.http.schemas import Body, GroupName, Id, MatchHeader, Query
from app.web.http.services import services

blueprint = blueprints.group("groups", reads=("admin", "read"))

MOST_MEMBERS = 10_000
Strategy = Annotated[Literal[STRATEGIES], Field(description="null: the pool's")]  # type: ignore[valid-type]
Members = Annotated[list[Id], Field(max_length=MOST_MEMBERS, description="exactly its members")]


class GroupAnswer(BaseModel):
    """A group; of the jobs that are bound to it, `waiting` have not started."""

    name: str
    strategy: str | None
    workers: list[str]
    waiting: int
    running: int
    created_at: datetime


class GroupList(BaseModel):
    """Every group, by name."""

    items: list[GroupAnswer]
    next: None


class NewGroupBody(Body):
    """A group to be made."""

    name: GroupName
    strategy: Strategy | None = None
    workers: Members = Field([])


class GroupBody(Body):
    """What is to be changed; what is not named stays."""

    name: GroupName | None = Field(None, description="a new name, which members and waiting jobs follow")
    strategy: Strategy | None = None
    workers: Members = Field([])


class GroupPath(BaseModel):
    """A group's path."""

    group: GroupName


class DeleteQuery(Query):
    """What becomes of jobs that wait for it."""

    move_to: GroupName | None = Field(None, description="they are bound to this group from then on")
    force: bool = Field(False, description="they wait for a group of this name")


@blueprint.get("/admin/groups", responses={200: GroupList})
def listed() -> Response:
    """List the groups."""
    return answer(GroupList(items=[_answer(group) for group in groups.listed(services().ledger)], next=None))


@blueprint.post("/admin/groups", responses={201: GroupAnswer})
def create(body: NewGroupBody) -> Response:
    """Make a group; a deleted one is there again, with the jobs that still wait for it."""
    return _shown(make(body.name, body.strategy, body.workers), 201)


@blueprint.get("/admin/groups/<group:group>", responses={200: GroupAnswer})
def find(path: GroupPath) -> Response:
    """Look at a group."""
    return _shown(known(path.group))


@blueprint.patch("/admin/groups/<group:group>", responses={200: GroupAnswer, 412: blueprints.problem_response()})
def change(path: GroupPath, header: MatchHeader, body: GroupBody) -> Response:
    """Rename a group, give it another strategy, let others be its members; all or none."""
    return _shown(apply(path.group, body.model_dump(exclude_unset=True), etags.condition(header)))


@blueprint.delete("/admin/groups/<group:group>", responses={204: None, 412: blueprints.problem_response()})
def delete(path: GroupPath, header: MatchHeader, query: DeleteQuery) -> Response:
    """Delete a group. Jobs that wait for it are moved, or told why they wait; without either word: 409."""
    end(path.group, query.move_to, query.force, etags.condition(header))
    return Response(status=204)


def known(name: str) -> Group:
    """The group, or 404."""
    found = groups.find(services().ledger, name)
    if found is None:
        abort(404, "there is no such group")
    return found


def make(name: str, strategy: str | None, members: Sequence[str]) -> Group:
    """A new group, written and rung. Raises BadRequest; 409 where there is one."""
    actor = caller().owner
    with services().ledger.transaction() as tx:
        if not groups.create(tx, name, strategy):
            abort(409, f"there is a group {name} already")
        events.record(tx, "group.created", f"{actor} created the group {name}", actor=actor)
        _fill(tx, name, members)
    acts.ring_groups()
    return known(name)


def apply(name: str, changes: Mapping[str, Any], matches: Matches | None = None) -> Group:
    """The group with these changes, written and rung. Raises BadRequest; 404; 409; 412 where `matches` says no."""
    with services().ledger.transaction() as tx:
        group = _lock(tx, name, matches)
        strategy = changes.get("strategy", group.strategy)
        if strategy != group.strategy:
            _set_strategy(tx, name, strategy)
        if "workers" in changes:
            _fill(tx, name, changes["workers"])
        renamed = changes.get("name") or name
        if renamed != name:
            _rename(tx, name, renamed)
    acts.ring_groups()
    return known(renamed)


def end(name: str, move_to: str | None, force: bool, matches: Matches | None = None) -> None:
    """Delete the group, and ring. Raises BadRequest; 404; 412 as above; 409 where jobs wait for it."""
    actor = caller().owner
    with services().ledger.transaction() as tx:
        group = _lock(tx, name, matches, move_to)
        if group.waiting and not (move_to or force):
            abort(409, f"{waiting_words(group)}; name another group for them (move_to), or let them wait (force)")
        groups.delete(tx, name, move_to)
        told = f"; its jobs go to {move_to}" if move_to else f"; {waiting_words(group)}" if group.waiting else ""
        events.record(tx, "group.deleted", f"{actor} deleted the group {name}{told}", actor=actor)
    acts.ring_groups()


def waiting_words(group: Group) -> str:
    """How many jobs wait for it."""
    return f"{group.waiting} waiting job{' is' if group.waiting == 1 else 's are'} bound to {group.name}"


def _lock(tx: Ledger, name: str, matches: Matches | None, move_to: str | None = None) -> Group:
    """The group, held for a change together with where its jobs shall go."""
    if move_to == name:
        raise BadFields(("?move_to", "name another group"))
    both = groups.lock(tx, name, *([move_to] if move_to else []))
    group = groups.find(tx, name)
    if group is None:
        abort(404, "there is no such group")
    if not both:
        raise BadFields(("?move_to", f"there is no group {move_to}"))
    etags.check(matches, group.version)
    return group


def _set_strategy(tx: Ledger, name: str, strategy: str | None) -> None:
    groups.set_strategy(tx, name, strategy)
    actor = caller().owner
    events.record(tx, "group.changed", f"{actor} set strategy of {name} = {strategy or 'the pool’s'}", actor=actor)


def _fill(tx: Ledger, name: str, members: Sequence[str]) -> None:
    which = [WorkerId(member) for member in members]
    there = pauses.intents(tx, which)
    errors = [
        (f"/workers/{place}", f"there is no worker {member}")
        for place, member in enumerate(which)
        if member not in there
    ]
    if errors:
        raise BadFields(*errors)
    groups.fill(tx, name, which, caller().owner)


def _rename(tx: Ledger, name: str, to: str) -> None:
    if not groups.rename(tx, name, to):
        abort(409, f"there is a group {to} already")
    actor = caller().owner
    events.record(tx, "group.renamed", f"{actor} renamed the group {name} to {to}", actor=actor)


def _answer(group: Group) -> GroupAnswer:
    return GroupAnswer(**{name: getattr(group, name) for name in GroupAnswer.model_fields})


def _shown(group: Group, status: int = 200) -> Response:
    return etags.shown(_answer(group), group.version, status)
