"""Text that every store can hold: PostgreSQL's text and jsonb hold neither NUL nor half of a surrogate pair.

The rule has two uses. What people, programs and beats send is refused, so that they learn of it: `unstorable`. What a
workflow printed must not cost its report, so there a replacement stands for what cannot be held: `storable`.
"""

from __future__ import annotations

import re

from app.pool.model import Json

STORABLE = r"[^\x00\ud800-\udfff]*"  # the pattern of a whole text
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def unstorable(value: Json) -> str | None:
    """What is wrong with this text, or with a text or key anywhere in this JSON value; None where nothing is.

    The words follow a subject: "holds a NUL character". The value may not be nested without a limit.
    """
    if isinstance(value, str):
        wrong = _UNSTORABLE.search(value)
        return wrong and ("holds a NUL character" if wrong[0] == "\0" else "holds half of a surrogate pair")
    if isinstance(value, dict):
        return next(filter(None, map(unstorable, [*value, *value.values()])), None)
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(unstorable, value)), None)
    return None


def storable_text(text: str) -> str:
    """The text with U+FFFD for each NUL and a question mark for each half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def storable(value: Json) -> Json:
    """The JSON value with every text and key in it made storable; the value may not be nested without a limit."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
