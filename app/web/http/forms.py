"""Forms: what came of the action that one asks for, and what is wrong with it, by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import ValidationError

from app.actions.errors import Conflict, Stale
from app.pool.errors import BadRequest
from app.web.http.problems import field_errors

MEANWHILE = "Somebody has changed this meanwhile; below is how it is now."
REFUSED = (BadRequest, ValidationError)
Errors = Mapping[str, str]  # by field; "": the whole


def tried(action: Callable[[], str]) -> tuple[str | None, Errors, int]:
    """What the action gave; or None, what is wrong by field, and the status: after 412 the form is shown as it is now,
    not as it was written. Other errors than of fields, of a conflict and of a stale version are raised."""
    try:
        return action(), {}, 303
    except REFUSED as error:
        return None, by_field(wrong(error)), 422
    except Stale:
        return None, {"": MEANWHILE}, 412
    except Conflict as error:
        return None, {"": _sentence(str(error))}, 409


def wrong(error: BadRequest | ValidationError) -> list[tuple[str, str]]:
    """What is wrong with each field, by pointer; or with the whole."""
    return field_errors(error) if isinstance(error, ValidationError) else error.errors or [("", str(error))]


def by_field(errors: Sequence[tuple[str, str]]) -> dict[str, str]:
    """One sentence a field: errors name /tags/3, the form has one field for all tags."""
    found: dict[str, str] = {}
    for pointer, why in errors:
        found.setdefault(pointer.lstrip("?").strip("/").split("/")[0], why)
    return found


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
