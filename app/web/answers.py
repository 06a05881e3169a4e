"""How answers are written: JSON from a model, lists with a cursor."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime

from flask import Response
from pydantic import BaseModel

from app.pool.errors import BadRequest


def answer(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The model as JSON, every field present."""
    text = body.model_dump_json(by_alias=True)
    return Response(text, status, dict(headers or {}), mimetype="application/json")


def cursor_of(at: datetime, last: str) -> str:
    """An opaque cursor: the place after the row with this time and id."""
    return base64.urlsafe_b64encode(json.dumps([at.isoformat(), last]).encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> tuple[datetime, str] | None:
    """The place that a cursor says; None for the beginning. Raises BadRequest for one that is not ours."""
    if cursor is None:
        return None
    try:
        at, last = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        place = datetime.fromisoformat(at)
        if place.tzinfo is None or not isinstance(last, str) or "\x00" in last:
            raise ValueError("not a cursor of ours")
        last.encode()
    except (ValueError, TypeError, binascii.Error) as error:
        errors = [("?cursor", "give `next` of the page before")]
        raise BadRequest("this cursor is not one that a list gave", errors) from error
    return place, last
