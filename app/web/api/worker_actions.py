"""Pausing, resuming, unblocking a worker; and one action on many, named or by the fleet's filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from flask import Response, abort
from pydantic import BaseModel, Field

from app.actions import workers as acts
from app.actions.workers import Action, Result, Wish
from app.ledger.registry.pauses import Pause
from app.pool.errors import BadFields
from app.pool.model import LIMITS, WorkerId
from app.web.api import workers
from app.web.api.worker_answers import WorkerAnswer
from app.web.http import blueprints
from app.web.http.responses import answer
from app.web.http.schemas import Body, FilterWords, GroupName, Id, Name, Seconds, Tag, When, Word, WorkerPath

blueprint = blueprints.group("worker actions", reads=())

MOST_NAMED = 10_000
READS: Mapping[Action, frozenset[str]] = {  # beside whom it is done to
    "tag": frozenset({"tags"}),
    "untag": frozenset({"tags"}),
    "group": frozenset({"groups"}),
    "ungroup": frozenset({"groups"}),
    "pause": frozenset({"until", "for_s", "note"}),
    "resume": frozenset(),
    "unblock": frozenset({"workflow"}),
}
AT_ONCE = frozenset({"tag", "untag", "group", "ungroup"})  # the rest is asked for, and seen on the record


class PauseBody(Body):
    """How long, and why; without a time until a person resumes it."""

    until: When | None = Field(None, description="ahead; either this or for_s")
    for_s: Seconds | None = None
    note: Name = Field("", description="why, for people")

    def pause(self) -> Pause:
        """The wish that it is."""
        return Pause(self.until, self.for_s, self.note or None)


class UnblockBody(Body):
    """Which block is to end."""

    workflow: Word | None = Field(None, description="all for which it is blocked unless named")


class FilterBody(FilterWords, Body):
    """Workers by the fleet's filter; an empty one is all of them."""


class ActionBody(PauseBody):
    """What is to be done to which workers, with what this action reads; the rest is empty."""

    action: Action
    workers: Annotated[list[Id], Field(min_length=1, max_length=MOST_NAMED)] | None = None
    filter: FilterBody | None = Field(None, description="either this or workers")
    tags: list[Tag] = Field([], max_length=LIMITS.tags)
    groups: list[GroupName] = Field([], max_length=LIMITS.tags)
    workflow: Word | None = Field(None, description="of unblock; all unless named")


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
    return _one(path, Wish("pause", pause=body.pause()))


@blueprint.post("/admin/workers/<id:worker>/resume", responses={202: WorkerAnswer})
def resume(path: WorkerPath) -> Response:
    """Let a paused worker take jobs again."""
    return _one(path, Wish("resume"))


@blueprint.post("/admin/workers/<id:worker>/unblock", responses={202: WorkerAnswer})
def unblock(path: WorkerPath, body: UnblockBody) -> Response:
    """Let a worker run again what it is blocked for."""
    return _one(path, Wish("unblock", workflow=body.workflow))


@blueprint.post("/admin/workers/actions", responses={200: ActionAnswer, 202: ActionAnswer})
def act(body: ActionBody) -> Response:
    """Do one thing to many workers, with a result for each. Only a body that cannot be taken fails as a whole."""
    _refuse_unread(body)
    wish = Wish(body.action, tuple(body.tags), tuple(body.groups), body.pause(), body.workflow)
    done = acts.perform(_which(body), wish)
    items = [ResultAnswer(**vars(each)) for each in done]
    status = 200 if body.action in AT_ONCE else 202
    return answer(ActionAnswer(items=items, done=sum(each.ok for each in done)), status)


def matching(words: FilterWords) -> list[WorkerId]:
    """The workers that this filter finds now."""
    return [WorkerId(worker.id) for worker in workers.matching(workers.filter_of(words))]


def _one(path: WorkerPath, wish: Wish) -> Response:
    worker = workers.known(path.worker)
    [done] = acts.perform([worker.id], wish)
    _refuse(done)
    return workers.shown(workers.known(path.worker), 202)


def _refuse(done: Result) -> None:
    if not done.ok:
        abort(409, f"{done.name or 'it'} {done.detail}")


def _refuse_unread(body: ActionBody) -> None:
    """What somebody says and nobody would read is a mistake of theirs."""
    unread = sorted(frozenset().union(*READS.values()) - READS[body.action])
    errors = [(f"/{name}", f"{body.action} does not read it") for name in unread if getattr(body, name)]
    if errors:
        raise BadFields(*errors)


def _which(body: ActionBody) -> list[WorkerId]:
    if (body.workers is None) == (body.filter is None):
        raise BadFields(("/workers", "name either workers or a filter"))
    if body.filter is not None:
        return matching(body.filter)
    return [WorkerId(worker) for worker in dict.fromkeys(body.workers or ())]
