"""Versions of what people change: the ETag of an answer, If-Match of a request, the version in a form.

Of two people who change what they saw, the second is told. A version is made where the facts are
(policy, setups, groups); here it is only carried and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Response, abort
from pydantic import BaseModel
from werkzeug.http import parse_etags

from app.web.http.responses import answer
from app.web.http.schemas import MatchHeader

STALE = "somebody has changed this since you read it; read it again"
Matches = Callable[[str], bool]


def shown(body: BaseModel, version: str, status: int = 200) -> Response:
    """The model as JSON, with this version as its ETag."""
    response = answer(body, status)
    response.set_etag(version)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def condition(header: MatchHeader) -> Matches | None:
    """Whether a version is one that the caller has seen; None when they do not say."""
    return None if header.if_match is None else parse_etags(header.if_match).contains


def seen(form: Mapping[str, str]) -> Matches:
    """Whether a version is the one that this form was filled in over."""
    return lambda present: present == form.get("version", "")


def check(matches: Matches | None, present: str) -> None:
    """412 when the present version is not one that the caller has seen."""
    if matches is not None and not matches(present):
        abort(412, STALE)


def of_form(present: str, written: Mapping[str, str] | None) -> str:
    """What a form carries: as long as it shows what somebody wrote, the version over which it was written.

    With the present one the next save would undo, unseen, what others have changed meanwhile.
    """
    return present if written is None else written.get("version", "")
