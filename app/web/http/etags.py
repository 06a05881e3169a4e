"""Versions of what people change: the ETag of an answer, If-Match of a request, the version in a form.

Versions are made where the facts are (policy, setups, groups) and compared by app/actions; here they are carried.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response
from pydantic import BaseModel
from werkzeug.http import parse_etags

from app.actions.versions import Matches
from app.web.http.responses import answer
from app.web.http.schemas import MatchHeader


def shown(body: BaseModel, version: str, status: int = 200) -> Response:
    """The model as JSON, with this version as its ETag."""
    response = answer(body, status)
    response.set_etag(version)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def condition(header: MatchHeader) -> Matches | None:
    """The caller's If-Match as a test of versions; None without one."""
    return None if header.if_match is None else parse_etags(header.if_match).contains


def seen(form: Mapping[str, str]) -> Matches:
    """The version that this form carries, as a test of versions."""
    return lambda present: present == form.get("version", "")


def of_form(present: str, written: Mapping[str, str] | None) -> str:
    """The version that a form carries: the present one; while it shows what somebody wrote, the one it was sent with.

    With the present version the next save would undo, unseen, what others have changed meanwhile.
    """
    return present if written is None else written.get("version", "")
