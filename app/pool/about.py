"""What people read of a field that they fill in, kept beside the field itself: label, help, range, choices.

The request's model, the OpenAPI document, forms and pages are made from it, so a new field of a job or a new
setting is described in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

_KEY = "about"


@dataclass(frozen=True)
class About:
    """What people read of one field, and what they may write into it."""

    label: str  # within a sentence; forms begin it with a capital
    help: str = ""
    low: float | None = None  # of a number; in the unit that the field's name carries
    high: float | None = None
    choices: tuple[str, ...] = ()
    section: str = ""  # of the form


def described(
    default: Any,
    label: str,
    help: str = "",
    *,
    between: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    section: str = "",
) -> Any:
    """A dataclass field with this default and what people read of it; `between` are the least and the most."""
    low, high = between or (None, None)
    return field(default=default, metadata={_KEY: About(label, help, low, high, choices, section)})


def described_fields(kind: type) -> dict[str, About]:
    """The fields of a dataclass that have a description, by name, in the order of their declaration."""
    return {each.name: each.metadata[_KEY] for each in fields(kind) if _KEY in each.metadata}
