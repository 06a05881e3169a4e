"""JSON as the ledger can keep it: no NaN or infinity, no NUL, no half of a surrogate pair, no endless nesting."""

from __future__ import annotations

from typing import Any

from flask import abort, current_app, request
from flask.json.provider import DefaultJSONProvider

from app.pool.codec import nested, parsed
from app.pool.model import LIMITS
from app.pool.text import unstorable

BODY_BYTES = 1024 * 1024  # of a request that is no upload


class StrictJson(DefaultJSONProvider):
    """A JSON reader that takes only what PostgreSQL's jsonb can hold, and raises ValueError for all else."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        value = parsed(s)
        if nested(value) > LIMITS.nested:
            raise ValueError(f"nested deeper than {LIMITS.nested} levels")
        if wrong := unstorable(value):
            raise ValueError(f"a text {wrong}")
        return value


def json_only(most_bytes: int = BODY_BYTES) -> None:
    """Refuse a body that is too large (413), not JSON (415) or unreadable (400), before a view looks at its fields."""
    request.max_content_length = most_bytes
    has_body = request.content_length or request.headers.get("Transfer-Encoding")
    if request.method in ("POST", "PUT", "PATCH") and has_body:
        if not request.is_json:
            abort(415, "send the body as application/json")
        _object()


def _object() -> None:
    try:
        body = current_app.json.loads(request.get_data())
    except ValueError as error:
        abort(400, f"the body cannot be read as JSON: {error}")
    if not isinstance(body, dict):
        abort(422, "the body must be a JSON object")
