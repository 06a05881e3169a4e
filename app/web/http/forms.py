"""Forms: the outcome of the action that a form asks for, or what is wrong with it, by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import ValidationError

from app.actions.errors import Conflict, Stale
from app.pool.errors import BadRequest
from app.pool.status import sentence
from app.web.http.problems import field_errors

MEANWHILE = "Somebody has changed this meanwhile; below is how it is now."
REFUSED = (BadRequest, ValidationError)
Errors = Mapping[str, str]  # by field; "": the whole


def tried(action: Callable[[], str]) -> tuple[str | None, Errors, int]:
    """What the action gave; or None, what is wrong by field, and the status.

    With 422 and 409 the form is shown as it was written, with 412 as it is now. Other errors are raised.
    """
    try:
        return action(), {}, 303
    except REFUSED as error:
        return None, by_field(wrong(error)), 422
    except Stale:
        return None, {"": MEANWHILE}, 412
    except Conflict as error:
        return None, {"": sentence(str(error))}, 409


def wrong(error: BadRequest | ValidationError) -> list[tuple[str, str]]:
    """The errors of fields by JSON pointer; the pointer "" names the whole."""
    return field_errors(error) if isinstance(error, ValidationError) else error.errors or [("", str(error))]


def by_field(errors: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The first error of each of the form's fields: errors name /tags/3, the form has one field for all tags."""
    first: dict[str, str] = {}
    for pointer, why in errors:
        first.setdefault(pointer.lstrip("?").strip("/").split("/")[0], why)
    return first
