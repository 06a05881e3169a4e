"""What a workflow may say: JSON within the limits of the pool (app.pool.model.LIMITS)."""

from __future__ import annotations

import json

from app.pool.codec import nested
from app.pool.model import LIMITS, Json
from app.pool.text import unstorable


def check_json(value: Json, most_bytes: int, what: str) -> None:
    """Raise ValueError when the value is no JSON that PostgreSQL can hold, or is longer than `most_bytes`.

    `what` names the value in the message: "the result".
    """
    try:
        if nested(value) > LIMITS.nested:
            raise ValueError(f"it is nested deeper than {LIMITS.nested} levels")
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} cannot be written as JSON: {error}") from error
    if wrong := unstorable(value):
        raise ValueError(f"{what} {wrong}")
    size = len(text.encode())
    if size > most_bytes:
        raise ValueError(f"{what} has {size} bytes; at most {most_bytes} are kept, put the rest into a file")
