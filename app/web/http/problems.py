"""Errors as RFC 9457 problem+json, each with the request's id: one shape for every error of every path."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import redis
from flask import Flask, Response, g, request
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from app.actions.errors import ActionError, Conflict, Forbidden, Missing, Stale
from app.pool.errors import FIELDS, BadRequest, Collided, PoolError, Unavailable, pointer

log = logging.getLogger(__name__)

SENTENCES: Mapping[type[HTTPException], str] = {  # in place of werkzeug's own
    NotFound: "there is nothing at this path; is the id right?",
    MethodNotAllowed: "this path does not take this method; the header Allow names those that it takes",
}
NO_BODY = "must be a JSON object; send {} to say nothing more"
MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "X-Request-Id"
RETRY_S = 2  # for about as long a failover of PostgreSQL or Redis refuses connections
STATUSES: Mapping[type[ActionError], int] = {Missing: 404, Forbidden: 403, Conflict: 409, Stale: 412}
AWAY = (Unavailable, redis.ConnectionError, redis.TimeoutError)


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    pointer: str = Field(description="JSON pointer into the body, or a parameter's name after '?'")
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str = Field(description="the path that was asked")
    request_id: str
    errors: list[FieldProblem] = []


def problem(
    status: int,
    detail: str,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> Response:
    """An error answer; `more` are members beside those of Problem."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.path,
        request_id=g.get("request_id", ""),
        errors=[FieldProblem(pointer=pointer, detail=text) for pointer, text in errors],
    )
    text = json.dumps({**body.model_dump(mode="json"), **more})
    return Response(text, status, dict(headers or {}), mimetype=MEDIA_TYPE)


def install(app: Flask) -> None:
    """Give each request an id, and each error the shape of Problem."""
    app.before_request(_name_request)
    app.after_request(_tell_name)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(BadRequest, _bad_request)
    app.register_error_handler(ActionError, _not_done)
    app.register_error_handler(PoolError, _pool_error)
    for kind in AWAY:
        app.register_error_handler(kind, _away)
    app.register_error_handler(Exception, _bug)


def invalid(error: ValidationError) -> Response:
    """A 422 answer that names each field that pydantic refused, by its pointer."""
    return problem(422, FIELDS, field_errors(error))


def field_errors(error: ValidationError) -> list[tuple[str, str]]:
    """The fields that pydantic refused: pairs of JSON pointer and reason."""
    return [(pointer(*detail["loc"]), _reason(detail)) for detail in error.errors()]


def away(error: Exception) -> tuple[str, dict[str, str]]:
    """The sentence and headers for a store that is away or a transaction that collided with another; logs the error."""
    log.warning("request=%s %s %s: %s", g.get("request_id"), request.method, request.path, error)
    again = {"Retry-After": str(RETRY_S)}
    if isinstance(error, Collided):
        return "others changed the same at the same moment; nothing was done, please try again", again
    store = "PostgreSQL" if isinstance(error, Unavailable) else "Redis"
    return f"{store} does not answer at the moment; nothing was lost, please try again", again


def _reason(detail: ErrorDetails) -> str:
    """What is wrong with a field: in our own words where a validator of ours raised ValueError, else in pydantic's."""
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return NO_BODY if detail["type"] == "model_type" else detail["msg"]


def _name_request() -> None:
    g.request_id = secrets.token_hex(8)


def _tell_name(response: Response) -> Response:
    response.headers[REQUEST_ID] = g.get("request_id", "")
    return response


def _http(error: HTTPException) -> Response:
    if isinstance(error, RequestEntityTooLarge):
        return problem(413, f"the body is larger than the {request.max_content_length} bytes that this path takes")
    answer = error.get_response()
    headers = {name: value for name, value in answer.headers if name.lower() in ("allow", "retry-after", "location")}
    if error.code is not None and error.code < 400:
        return Response(status=error.code, headers=headers)
    return problem(error.code or 500, SENTENCES.get(type(error), error.description or ""), headers=headers)


def _bad_request(error: BadRequest) -> Response:
    return problem(422, str(error), error.errors)


def _not_done(error: ActionError) -> Response:
    return problem(STATUSES[type(error)], str(error))


def _pool_error(error: PoolError) -> Response:
    return problem(409, str(error))


def _away(error: Exception) -> Response:
    detail, headers = away(error)
    return problem(503, detail, headers=headers)


def _bug(error: Exception) -> Response:
    log.error("request=%s %s %s failed", g.get("request_id"), request.method, request.path, exc_info=error)
    return problem(500, "the server made an error; its log has it under this request id")
