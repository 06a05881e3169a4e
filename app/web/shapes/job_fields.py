"""A job's fields as the API names them, made from the one list of them: JobSpec and Requirement.

`SpecAnswer` is what every answer about a job begins with; `facts_of` fills it. A new field of the specification
appears in both, and in POST /jobs (job_bodies.py), without being named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from pydantic import BaseModel, create_model

from app.pool.model import JobSpec, Requirement

NOT_SUBMITTED = frozenset({"retry_of", "above_vram_mb"})  # POST /jobs/<id>/retry and a failure say these
NAMES = {"tags": "requires"}  # of the specification's fields; all others are named as they are
FIELDS: tuple[Field[Any], ...] = (
    *fields(Requirement),
    *(field for field in fields(JobSpec) if field.name != "requirement"),
)
HINTS = {**get_type_hints(Requirement), **get_type_hints(JobSpec)}


def api_name(field: str) -> str:
    """How the API names this field of a specification."""
    return NAMES.get(field, field)


def facts_of(spec: JobSpec) -> dict[str, Any]:
    """Every field of a specification by its name in the API, as JSON values and times."""
    values = {**vars(spec.requirement), **vars(spec)}
    return {api_name(field.name): _plain(field.name, values[field.name]) for field in FIELDS}


def _plain(name: str, value: Any) -> Any:
    if HINTS[name] == tuple[tuple[str, float], ...] or isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _shape(hint: Any) -> Any:
    """The type of such a fact in an answer."""
    if hint == tuple[tuple[str, float], ...]:
        return dict[str, float]
    if get_origin(hint) is tuple:
        return list[str]
    return dict[str, Any] if get_origin(hint) is Mapping else hint


if TYPE_CHECKING:

    class SpecAnswer(BaseModel):
        """What was submitted; made from the specification's fields."""

        def __init__(self, **facts: Any) -> None: ...

else:
    SpecAnswer = create_model(
        "SpecAnswer",
        __module__=__name__,
        **{api_name(field.name): (_shape(HINTS[field.name]), ...) for field in FIELDS},
    )
