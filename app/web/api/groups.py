"""Groups over HTTP: named sets of workers that jobs may be bound to.

The ETag covers what people set: name, strategy, members.
"""

from __future__ import annotations

from datetime import datetime

from flask import Response
from pydantic import BaseModel, Field

from app.actions import groups
from app.ledger import groups as ledger_groups
from app.ledger.groups import Group
from app.web.http import blueprints, etags
from app.web.http.auth import READERS, caller
from app.web.http.responses import answer
from app.web.http.schemas import GroupName, MatchHeader, Query
from app.web.http.services import services
from app.web.shapes.group_bodies import GroupBody, NewGroupBody

blueprint = blueprints.group("groups", reads=READERS)


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
    return answer(GroupList(items=[_answer(group) for group in ledger_groups.listed(services().ledger)], next=None))


@blueprint.post("/admin/groups", responses={201: GroupAnswer})
def create(body: NewGroupBody) -> Response:
    """Make a group; a deleted one is there again, with the jobs that still wait for it."""
    return _shown(groups.make(services(), caller(), body.name, body.strategy, body.workers), 201)


@blueprint.get("/admin/groups/<group:group>", responses={200: GroupAnswer})
def find(path: GroupPath) -> Response:
    """Look at a group."""
    return _shown(groups.find(services().ledger, path.group))


@blueprint.patch("/admin/groups/<group:group>", responses={200: GroupAnswer, 412: blueprints.problem_response()})
def change(path: GroupPath, header: MatchHeader, body: GroupBody) -> Response:
    """Rename a group, give it another strategy, let others be its members; all or none."""
    changes = body.model_dump(exclude_unset=True)
    return _shown(groups.change(services(), caller(), path.group, changes, etags.condition(header)))


@blueprint.delete("/admin/groups/<group:group>", responses={204: None, 412: blueprints.problem_response()})
def delete(path: GroupPath, header: MatchHeader, query: DeleteQuery) -> Response:
    """Delete a group. Jobs that wait for it are moved, or told why they wait; without either word: 409."""
    groups.delete(services(), caller(), path.group, query.move_to, query.force, etags.condition(header))
    return Response(status=204)


def _answer(group: Group) -> GroupAnswer:
    return GroupAnswer(**{name: getattr(group, name) for name in GroupAnswer.model_fields})


def _shown(group: Group, status: int = 200) -> Response:
    return etags.shown(_answer(group), group.version, status)
