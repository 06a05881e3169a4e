"""Investigations as lists page through them, and the note that people may write."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from app.ledger import investigations
from app.ledger.investigations import Investigation
from app.pool.model import WorkerId
from app.web.http.responses import cursor_of, first_page, place_of
from app.web.http.schemas import Body
from app.web.http.services import services

TEXT_MOST = 2000


def _written(text: str) -> str:
    if not text.strip():
        raise ValueError("write at least a word")
    if any(ord(letter) < 32 and letter not in "\n\r\t" for letter in text):
        raise ValueError("may not hold control characters")
    return text.strip()


NoteText = Annotated[
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

    text: NoteText


def page_of(
    open_only: bool, worker: WorkerId | None, cursor: str | None, limit: int
) -> tuple[list[Investigation], str | None]:
    """A page of the investigations, newest first, and the cursor of the next page. Raises BadRequest for a cursor."""
    rows = investigations.listed(services().ledger, open_only, worker=worker, before=place_of(cursor), limit=limit + 1)
    return first_page(rows, limit, lambda last: cursor_of(last.opened_at, last.id))
