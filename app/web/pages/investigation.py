"""The pages of investigations: the list, and one with its evidence as a story; notes, and resolving it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.actions import investigations
from app.ledger.blocks import POOL
from app.ledger.investigations import Investigation, InvestigationNote, Move, moves, notes
from app.ledger.registry import workers
from app.pool.errors import BadRequest
from app.pool.model import Intent
from app.web.http import htmx
from app.web.http.auth import READERS, caller
from app.web.http.schemas import LISTED
from app.web.http.services import services
from app.web.pages import investigation_story
from app.web.pages.base import page
from app.web.pages.investigation_story import Figure, Step
from app.web.shapes.investigations import NoteBody, page_of

blueprint = Blueprint("investigation_page", __name__)


@dataclass(frozen=True)
class InvestigationsView:
    """A page of investigations."""

    items: tuple[Investigation, ...]
    all: bool
    query: str
    next: str | None


@dataclass(frozen=True)
class InvestigationView:
    """The part of an investigation's page that changes."""

    investigation: Investigation
    meaning: str
    why: str | None
    steps: tuple[Step, ...]
    figures: tuple[Figure, ...]
    last_words: tuple[str, ...]
    moves: tuple[Move, ...]
    notes: tuple[InvestigationNote, ...]
    paused: bool  # by the pool; resolving the investigation does not resume it


@blueprint.get("/investigations")
@page(*READERS)
def listed() -> ResponseReturnValue:
    """The page of open investigations, or with ?all=1 of all."""
    return render_template("investigations/list.html", view=_listed())


@blueprint.get("/ui/investigations")
@page(*READERS)
def list_fragment() -> ResponseReturnValue:
    """The part of the list that changes."""
    return htmx.fragment("investigations/_list.html", _listed())


@blueprint.get("/investigations/<id:investigation>")
@page(*READERS)
def shown(investigation: str) -> ResponseReturnValue:
    """The page of one investigation."""
    return render_template("investigations/investigation.html", view=_view(investigation))


@blueprint.get("/ui/investigations/<id:investigation>")
@page(*READERS)
def fragment(investigation: str) -> ResponseReturnValue:
    """The part of an investigation's page that changes."""
    return htmx.fragment("investigations/_investigation.html", _view(investigation))


@blueprint.post("/ui/investigations/<id:investigation>/notes")
@page("admin")
def add_note(investigation: str) -> ResponseReturnValue:
    """Add the note that the form holds."""
    investigations.add_note(services().ledger, caller(), investigation, _text("text"))
    return redirect(f"/investigations/{investigation}", 303)


@blueprint.post("/ui/investigations/<id:investigation>/resolve")
@page("admin")
def resolve(investigation: str) -> ResponseReturnValue:
    """Resolve the investigation with the note that the form holds."""
    investigations.resolve(services().ledger, caller(), investigation, _text("note"))
    return redirect(f"/investigations/{investigation}", 303)


def _text(name: str) -> str:
    try:
        return NoteBody(text=request.form.get(name, "")).text
    except ValidationError as error:
        raise BadRequest(f"the note cannot be taken: {error.errors()[0]['msg']}") from error


def _listed() -> InvestigationsView:
    everything, cursor = request.args.get("all") == "1", request.args.get("cursor")
    items, more = page_of(not everything, None, cursor, LISTED)
    words = {"all": "1"} if everything else {}
    query = urlencode({**words, **({"cursor": cursor} if cursor else {})})
    after = f"/investigations?{urlencode({**words, 'cursor': more})}" if more else None
    return InvestigationsView(tuple(items), everything, f"?{query}" if query else "", after)


def _view(name: str) -> InvestigationView:
    ledger = services().ledger
    investigation = investigations.find(ledger, name)
    moved, worker = tuple(moves(ledger, investigation.id)), workers.find(ledger, investigation.worker)
    return InvestigationView(
        investigation=investigation,
        meaning=investigation_story.MEANINGS[investigation.cause],
        why=investigation.evidence.get("why"),
        steps=investigation_story.steps(investigation, moved, workers.transitions(ledger, investigation.worker)),
        figures=investigation_story.figures(investigation),
        last_words=investigation_story.last_words(investigation.evidence),
        moves=moved,
        notes=tuple(reversed(notes(ledger, investigation.id))),
        paused=worker is not None and worker.intent is Intent.PAUSED and worker.paused_by == POOL,
    )
