"""The pool's settings over HTTP: read, and changed all or none. The ranges are app/pool/policy.py's.

The ETag is the settings' version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from flask import Response
from pydantic import BaseModel, Field, WithJsonSchema, create_model

from app.actions import settings
from app.ledger import policy
from app.pool.model import Json
from app.pool.policy import ABOUT, DEFAULTS, NAMES, NULLABLE, Policy
from app.web.http import blueprints, etags
from app.web.http.auth import READERS, caller
from app.web.http.schemas import Body, MatchHeader
from app.web.http.services import services

blueprint = blueprints.group("settings", reads=READERS)


def _schema(name: str) -> dict[str, Any]:
    """A setting's schema in the document; the policy checks values, and its errors name the range."""
    default, about = getattr(DEFAULTS, name), ABOUT[name]
    if isinstance(default, bool):
        return {"type": "boolean"}
    if about.choices:
        return {"type": "string", "enum": list(about.choices)}
    kind = "number" if isinstance(default, float) else "integer"
    number = {"type": kind, "minimum": about.low, "maximum": about.high}
    return {"anyOf": [number, {"type": "null"}]} if name in NULLABLE else number


def _model(title: str, base: type[BaseModel]) -> Any:
    shapes: dict[str, Any] = {
        name: (Annotated[Any, WithJsonSchema(_schema(name))], Field(getattr(DEFAULTS, name), description=about.help))
        for name, about in ABOUT.items()
    }
    return create_model(title, __base__=base, __module__=__name__, **shapes)


if TYPE_CHECKING:

    class SettingsAnswer(BaseModel):
        """The pool's settings; made from the policy's fields."""

        def __init__(self, **settings: Json) -> None: ...

    class SettingsBody(Body):
        """Settings to be changed; those that are not named stay."""

else:
    SettingsAnswer = _model("SettingsAnswer", BaseModel)
    SettingsBody = _model("SettingsBody", Body)


@blueprint.get("/admin/settings", responses={200: SettingsAnswer})
def read() -> Response:
    """Look at the pool's settings."""
    return _shown(policy.read(services().ledger))


@blueprint.patch("/admin/settings", responses={200: SettingsAnswer, 412: blueprints.problem_response()})
def change(header: MatchHeader, body: SettingsBody) -> Response:
    """Change these settings, all or none; agents hear of it with their next heartbeat."""
    changes = body.model_dump(exclude_unset=True)
    return _shown(settings.change(services(), caller(), changes, etags.condition(header)))


def _shown(present: Policy) -> Response:
    return etags.shown(SettingsAnswer(**{name: getattr(present, name) for name in NAMES}), policy.version(present))
