"""Investigations over HTTP: what is known of a worker's failure, notes, and a person's word that closes it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from flask import Response
from pydantic import BaseModel, Field
from pydantic.dataclasses import dataclass

from app.actions import investigations
from app.ledger.investigations import Investigation, InvestigationNote, Move, moves, notes
from app.pool.model import WorkerId
from app.web.http import blueprints
from app.web.http.auth import READERS, caller
from app.web.http.responses import answer
from app.web.http.schemas import Body, Id, PageQuery
from app.web.http.services import services
from app.web.shapes.investigations import NoteBody, NoteText, page_of

blueprint = blueprints.group("investigations", reads=READERS)


class InvestigationAnswer(BaseModel):
    """A worker's failure; `cause` is suspected."""

    id: str
    worker: str
    worker_name: str
    incarnation: int
    cause: str
    silent_at: datetime
    opened_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None


class InvestigationList(BaseModel):
    """A page of them, newest first."""

    items: list[InvestigationAnswer]
    next: str | None


@dataclass(frozen=True)
class MoveAnswer(Move):
    """A job that the worker lost, and where it went on; `seconds` from the silence to the new start."""


@dataclass(frozen=True)
class NoteAnswer(InvestigationNote):
    """What a person wrote."""


class InvestigationWhole(InvestigationAnswer):
    """A worker's failure with its evidence."""

    evidence: dict[str, Any]
    jobs: list[MoveAnswer]
    notes: list[NoteAnswer]


class ResolveBody(Body):
    """What was found."""

    note: NoteText


class InvestigationPath(BaseModel):
    """An investigation's path."""

    investigation: Id


class InvestigationsQuery(PageQuery):
    """Which of them."""

    open: bool = Field(False, description="only those that nobody has resolved")
    worker: Id | None = None


@blueprint.get("/admin/investigations", responses={200: InvestigationList})
def listed(query: InvestigationsQuery) -> Response:
    """List the investigations, newest first."""
    worker = WorkerId(query.worker) if query.worker else None
    items, more = page_of(query.open, worker, query.cursor, query.limit)
    return answer(InvestigationList(items=[_answer(item) for item in items], next=more))


@blueprint.get("/admin/investigations/<id:investigation>", responses={200: InvestigationWhole})
def find(path: InvestigationPath) -> Response:
    """Look at one, with its evidence."""
    return answer(_whole(investigations.find(services().ledger, path.investigation)))


@blueprint.post("/admin/investigations/<id:investigation>/notes", responses={201: InvestigationWhole})
def add_note(path: InvestigationPath, body: NoteBody) -> Response:
    """Add a note, also to a resolved one."""
    noted = investigations.add_note(services().ledger, caller(), path.investigation, body.text)
    return answer(_whole(noted), 201)


@blueprint.post("/admin/investigations/<id:investigation>/resolve", responses={200: InvestigationWhole})
def resolve(path: InvestigationPath, body: ResolveBody) -> Response:
    """Close it, with what was found; the flag goes from its worker."""
    return answer(_whole(investigations.resolve(services().ledger, caller(), path.investigation, body.note)))


def _answer(investigation: Investigation) -> InvestigationAnswer:
    return InvestigationAnswer(**{name: getattr(investigation, name) for name in InvestigationAnswer.model_fields})


def _whole(investigation: Investigation) -> InvestigationWhole:
    ledger = services().ledger
    return InvestigationWhole(
        **_answer(investigation).model_dump(),
        evidence=dict(investigation.evidence),
        jobs=[MoveAnswer(**asdict(move)) for move in moves(ledger, investigation.id)],
        notes=[NoteAnswer(**asdict(note)) for note in notes(ledger, investigation.id)],
    )
