"""Blueprints of the API: a group of paths with its guard, its limit of size, and the errors that it documents."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.web.http import auth
from app.web.http.problems import MEDIA_TYPE
from app.web.http.strict_json import BODY_BYTES, json_only

PROBLEM = {"$ref": "#/components/schemas/Problem"}
BEARER = {"bearer": {"type": "http", "scheme": "bearer"}}
ALWAYS = (400, 401, 403, 404, 409, 413, 415, 422, 503)


def group(
    name: str, reads: Iterable[str], writes: Iterable[str] = ("admin",), most_bytes: int = BODY_BYTES
) -> APIBlueprint:
    """A blueprint whose paths tokens of these kinds may read and write; bodies have `most_bytes` at most."""
    blueprint = APIBlueprint(
        name,
        __name__,
        abp_tags=[Tag(name=name)],
        abp_security=[{"bearer": []}],
        abp_responses={status: problem_response() for status in ALWAYS},
    )
    auth.guard(blueprint, reads, writes)
    blueprint.before_request(partial(json_only, most_bytes))
    return blueprint


def problem_response() -> dict[str, Any]:
    """The OpenAPI description of an error."""
    return {"content": {MEDIA_TYPE: {"schema": PROBLEM}}}
