"""The submit form: its fields are made from what a workflow declares, and read back by the same declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import MultiDict

from app.pool import parameters
from app.pool.errors import BadFields
from app.pool.model import Json, Parameter, Workflow

UNITS = {"_s": "seconds", "_mb": "MiB"}
Errors = Mapping[str, str]  # field's pointer -> what is wrong


@dataclass(frozen=True)
class Field:
    """One parameter as the form asks for it."""

    parameter: Parameter
    value: str
    checked: bool
    error: str | None

    @property
    def name(self) -> str:
        """The input's name."""
        return f"p.{self.parameter.name}"

    @property
    def label(self) -> str:
        """For people: a unit at the name's end is written out."""
        name, unit = self.parameter.name, ""
        for suffix, written in UNITS.items():
            if name.endswith(suffix):
                name, unit = name.removesuffix(suffix), f" ({written})"
        return name.replace("_", " ").capitalize() + unit

    @property
    def step(self) -> str:
        """Of a number's input."""
        return "1" if self.parameter.type == "int" else "any"

    @property
    def needed(self) -> bool:
        """Whether it must be filled in."""
        return self.parameter.required and self.parameter.default is None


def fields(workflow: Workflow, params: Mapping[str, Json], errors: Errors) -> list[Field]:
    """The form's fields with these values, or the declared defaults."""
    return [_field(each, params.get(each.name, each.default), errors) for each in workflow.parameters]


def written(form: MultiDict[str, str]) -> dict[str, str]:
    """What a person has written, by parameter, to be shown again."""
    return {name[2:]: text for name, text in form.items() if name.startswith("p.")}


def params(workflow: Workflow, form: MultiDict[str, str]) -> dict[str, Json]:
    """The parameters in their declared types; empty ones are left out. Raises BadRequest naming each bad one."""
    found: dict[str, Json] = {}
    errors = []
    for parameter in workflow.parameters:
        try:
            value = _read(parameter, form.get(f"p.{parameter.name}", "").strip())
        except ValueError as error:
            errors.append((f"/params/{parameter.name}", str(error)))
            continue
        if value is not None:
            found[parameter.name] = value
    if errors:
        raise BadFields(*errors)
    return found


def body(workflow: str, values: Mapping[str, Json], form: MultiDict[str, str]) -> dict[str, Any]:
    """The submission as POST /jobs takes it. Raises BadRequest for a number that is none."""
    return {
        "workflow": workflow,
        "params": dict(values),
        "name": form.get("name", "").strip(),
        "requires": form.get("requires", "").replace(",", " ").split(),
        "min_vram_mb": _whole(form, "min_vram_mb"),
        "priority": 50 if (priority := _whole(form, "priority")) is None else priority,
        "strict": "strict" in form,
    }


def _field(parameter: Parameter, value: Json, errors: Errors) -> Field:
    checked = value is True or value == "on"
    return Field(parameter, "" if value is None else str(value), checked, errors.get(f"/params/{parameter.name}"))


def _read(parameter: Parameter, text: str) -> Json:
    if parameter.type == "bool":
        return text == "on"  # a box that is not ticked is not sent
    return parameters.typed(parameter, text) if text else None


def _whole(form: MultiDict[str, str], name: str) -> int | None:
    text = form.get(name, "").strip()
    if not text:
        return None
    number = parameters.whole(text)
    if number is None:
        raise BadFields((f"/{name}", "must be a whole number"))
    return number
