"""Workflows on hold over HTTP: which are, why, and what comes next; an admin may lift a hold at once."""

from __future__ import annotations

from datetime import datetime

from flask import Response
from pydantic import BaseModel, Field

from app.actions import holds
from app.ledger import holds as ledger_holds
from app.ledger.holds import Hold
from app.web.http import blueprints
from app.web.http.auth import READERS, caller
from app.web.http.responses import answer
from app.web.http.schemas import WorkflowName
from app.web.http.services import services

blueprint = blueprints.group("holds", reads=READERS)


class HoldAnswer(BaseModel):
    """A workflow of which no job is started, but for one at a time that tries from `until` on."""

    workflow: str
    why: str
    since: datetime
    until: datetime
    met: int = Field(description="the attempt that began it, and jobs that have tried in vain since")
    probe: str | None = Field(description="the job that tries now")
    words: str


class HoldList(BaseModel):
    """Every workflow on hold, by name."""

    items: list[HoldAnswer]
    next: None = None


class HoldPath(BaseModel):
    """The path of a workflow's hold."""

    workflow: WorkflowName


@blueprint.get("/admin/holds", responses={200: HoldList})
def listed() -> Response:
    """List the workflows on hold."""
    return answer(HoldList(items=[_answer(hold) for hold in ledger_holds.listed(services().ledger)]))


@blueprint.delete("/admin/holds/<group:workflow>", responses={204: None})
def lift(path: HoldPath) -> Response:
    """Lift a hold: all jobs of the workflow may start again."""
    holds.lift(services(), caller(), path.workflow)
    return Response(status=204)


def _answer(hold: Hold) -> HoldAnswer:
    return HoldAnswer(**{name: getattr(hold, name) for name in HoldAnswer.model_fields})
