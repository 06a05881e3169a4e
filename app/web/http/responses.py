"""Answers: JSON from a model, and lists that go on at a cursor."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from flask import Response
from pydantic import BaseModel

from app.pool.errors import BadRequest
from app.pool.text import unstorable

T = TypeVar("T")


def answer(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The model as a JSON answer; fields without a value are null."""
    text = body.model_dump_json(by_alias=True)
    return Response(text, status, dict(headers or {}), mimetype="application/json")


def first_page(rows: Sequence[T], limit: int, cursor: Callable[[T], str]) -> tuple[list[T], str | None]:
    """The first `limit` rows, and the cursor of the next page, made from the last of them, where there was one more."""
    page = list(rows[:limit])
    return page, cursor(page[-1]) if len(rows) > limit else None


def cursor_of(at: datetime, last: str) -> str:
    """An opaque cursor: the place after the row with this time and id."""
    return _cursor([at.isoformat(), last])


def name_cursor(name: str, last: str) -> str:
    """An opaque cursor of a list by name: the place after the row with this name and id."""
    return _cursor([name, last])


def place_of(cursor: str | None) -> tuple[datetime, str] | None:
    """The place that a cursor says; None for the beginning. Raises BadRequest for one that is not ours."""
    if cursor is None:
        return None
    at, last = _parts(cursor)
    try:
        place = datetime.fromisoformat(at)
        if place.tzinfo is None:
            raise ValueError("not a cursor of ours")
    except ValueError as error:
        raise foreign_cursor() from error
    return place, last


def name_of(cursor: str | None) -> tuple[str, str] | None:
    """The (name, id) that a cursor says; None for the beginning. Raises BadRequest for one that is not ours."""
    return None if cursor is None else _parts(cursor)


def foreign_cursor() -> BadRequest:
    """The error for a cursor that no list gave."""
    return BadRequest("this cursor is not one that a list gave", [("?cursor", "give `next` of the page before")])


def _cursor(parts: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _parts(cursor: str) -> tuple[str, str]:
    try:
        first, last = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        for part in (first, last):
            if not isinstance(part, str) or unstorable(part):
                raise ValueError("not a cursor of ours")
    except (ValueError, TypeError, binascii.Error) as error:
        raise foreign_cursor() from error
    return first, last
