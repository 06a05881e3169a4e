"""Investigations over HTTP: what is known of a worker's failure, notes, and a person's word that closes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from flask import Response, abort
from pydantic import AfterValidator, BaseModel, Field, RootModel

from app.ledger import events, investigations
from app.ledger.investigations import Investigation, InvestigationNote, Move
from app.pool.model import WorkerId
from app.web.http import blueprints
from app.web.http.auth import caller
from app.web.http.responses import answer, cursor_of, place_of
from app.web.http.schemas import LISTED, LISTED_MOST, Body, Id, Query
from app.web.http.services import services

blueprint = blueprints.group("investigations", reads=("admin", "read"))

TEXT_MOST = 2000


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


class MoveAnswer(RootModel[Move]):
    """A job that the worker lost, and where it went on."""


class NoteAnswer(RootModel[InvestigationNote]):
    """What a person wrote."""


class InvestigationWhole(InvestigationAnswer):
    """A worker's failure with its evidence."""

    evidence: dict[str, Any]
    jobs: list[MoveAnswer]
    notes: list[NoteAnswer]


def _written(text: str) -> str:
    if not text.strip():
        raise ValueError("write at least a word")
    if any(ord(letter) < 32 and letter not in "\n\r\t" for letter in text):
        raise ValueError("may not hold control characters")
    return text.strip()


Text = Annotated[
    str,
    AfterValidator(_written),
    # The pattern is for the document; the validator says in words what is wrong.
    Field(
        min_length=1,
        max_length=TEXT_MOST,
        json_schema_extra={"pattern": r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f]*[A-Za-z0-9]$"},
    ),
]


class NoteBody(Body):
    """A note."""

    text: Text


class ResolveBody(Body):
    """What was found."""

    note: Text


class InvestigationPath(BaseModel):
    """An investigation's path."""

    investigation: Id


class InvestigationsQuery(Query):
    """Which of them."""

    open: bool = Field(False, description="only those that nobody has resolved")
    worker: Id | None = None
    cursor: str | None = Field(None, max_length=200, description="`next` of the page before")
    limit: int = Field(LISTED, ge=1, le=LISTED_MOST)


@blueprint.get("/admin/investigations", responses={200: InvestigationList})
def listed(query: InvestigationsQuery) -> Response:
    """List the investigations, newest first."""
    worker = WorkerId(query.worker) if query.worker else None
    items, more = paged(query.open, worker, query.cursor, query.limit)
    return answer(InvestigationList(items=[_answer(each) for each in items], next=more))


@blueprint.get("/admin/investigations/<id:investigation>", responses={200: InvestigationWhole})
def find(path: InvestigationPath) -> Response:
    """Look at one, with its evidence."""
    return answer(_whole(path.investigation))


@blueprint.post("/admin/investigations/<id:investigation>/notes", responses={201: InvestigationWhole})
def add_note(path: InvestigationPath, body: NoteBody) -> Response:
    """Add a note, also to a resolved one."""
    if not investigations.add_note(services().ledger, path.investigation, caller().owner, body.text):
        abort(404, "there is no such investigation")
    return answer(_whole(path.investigation), 201)


@blueprint.post("/admin/investigations/<id:investigation>/resolve", responses={200: InvestigationWhole})
def resolve(path: InvestigationPath, body: ResolveBody) -> Response:
    """Close it, with what was found; the flag goes from its worker."""
    found = known(path.investigation)
    with services().ledger.transaction() as tx:
        if not investigations.resolve(tx, found.id, caller().owner, body.note):
            abort(409, "it has been resolved before")
        sentence = f"{caller().owner} resolved the investigation of {found.worker_name} ({found.cause})"
        events.record(tx, "investigation.resolved", sentence, worker=found.worker, actor=caller().owner)
    return answer(_whole(found.id))


def paged(
    open_only: bool, worker: WorkerId | None, cursor: str | None, limit: int
) -> tuple[list[Investigation], str | None]:
    """A page of them, newest first, and the cursor of the next."""
    found = investigations.listed(services().ledger, open_only, worker=worker, before=place_of(cursor), limit=limit + 1)
    page = found[:limit]
    return page, cursor_of(page[-1].opened_at, page[-1].id) if len(found) > limit else None


def known(investigation: str) -> Investigation:
    """The investigation, or 404."""
    found = investigations.find(services().ledger, investigation)
    if found is None:
        abort(404, "there is no such investigation")
    return found


def _answer(found: Investigation) -> InvestigationAnswer:
    return InvestigationAnswer(**{name: getattr(found, name) for name in InvestigationAnswer.model_fields})


def _whole(investigation: str) -> InvestigationWhole:
    found, ledger = known(investigation), services().ledger
    return InvestigationWhole(
        **_answer(found).model_dump(),
        evidence=dict(found.evidence),
        jobs=[MoveAnswer(move) for move in investigations.moves(ledger, found.id)],
        notes=[NoteAnswer(note) for note in investigations.notes(ledger, found.id)],
    )
