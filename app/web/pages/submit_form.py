"""The submit form: its fields are made from what a workflow declares, and read back by the same declaration.

Some of a job's demands have fields too. What has none (NOT_IN_FORM) is taken from the job that is submitted again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import MultiDict

from app.pool import parameters
from app.pool.errors import BadFields, pointer, pointer_parts
from app.pool.model import Json, Parameter, Workflow
from app.web.http.forms import Errors, by_field
from app.web.shapes.job_bodies import ABOUT, JobBody

UNITS = {"_s": "seconds", "_mb": "MiB"}
ASKED = ("name", "requires", "prefers", "group", "min_vram_mb", "priority", "strict")  # beside the parameters
NOT_IN_FORM = {name: about.label for name, about in ABOUT.items() if name not in ASKED}
USED = "this form was submitted already, with other values; submit it once more to make another job"


@dataclass(frozen=True)
class FormField:
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
        """The parameter's name for people, with the unit at its end written out."""
        name, unit = self.parameter.name, ""
        for suffix, written in UNITS.items():
            if name.endswith(suffix):
                name, unit = name.removesuffix(suffix), f" ({written})"
        return name.replace("_", " ").capitalize() + unit

    @property
    def step(self) -> str:
        """The step of a number's input."""
        return "1" if self.parameter.type == "int" else "any"

    @property
    def needed(self) -> bool:
        """True when the field must be filled in."""
        return self.parameter.required and self.parameter.default is None


def fields(workflow: Workflow, params: Mapping[str, Json], errors: Errors) -> list[FormField]:
    """The form's fields with these values, or the declared defaults."""
    return [
        _field(parameter, params.get(parameter.name, parameter.default), errors) for parameter in workflow.parameters
    ]


def written(form: MultiDict[str, str]) -> dict[str, str]:
    """What a person wrote, by parameter, to be shown again."""
    return {name[2:]: text for name, text in form.items() if name.startswith("p.")}


def texts(asked: Mapping[str, Any]) -> dict[str, str]:
    """A submission's demands as a person would write them."""
    return {
        "name": asked["name"],
        "requires": " ".join(asked["requires"]),
        "prefers": " ".join(tag if weight == 1 else f"{tag}={weight}" for tag, weight in asked["prefers"].items()),
        "group": asked["group"] or "",
        "min_vram_mb": "" if asked["min_vram_mb"] is None else str(asked["min_vram_mb"]),
        "priority": str(asked["priority"]),
        **({"strict": "on"} if asked["strict"] else {}),
    }


def kept(asked: Mapping[str, Any]) -> list[str]:
    """The labels of what this submission says and the form does not ask."""
    usual = JobBody.model_fields
    return [words for name, words in NOT_IN_FORM.items() if name in asked and asked[name] != usual[name].get_default()]


def errors_by_input(errors: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The errors by the name of the form's input; "" names the whole."""
    parts = [(pointer_parts(place), why) for place, why in errors]
    ours = {f"p.{names[1]}": why for names, why in parts if names[0:1] == ["params"] and names[1:]}
    rest = by_field([error for error in errors if not error[0].startswith("/params/")])
    used = {"": USED} if rest.pop("Idempotency-Key", None) else {}
    return {**used, **ours, **rest}


def params(workflow: Workflow, form: MultiDict[str, str]) -> dict[str, Json]:
    """The parameters in their declared types; empty ones are left out. Raises BadFields naming each bad one."""
    values: dict[str, Json] = {}
    errors = []
    for parameter in workflow.parameters:
        try:
            value = _read(parameter, form.get(f"p.{parameter.name}", "").strip())
        except ValueError as error:
            errors.append((pointer("params", parameter.name), str(error)))
            continue
        if value is not None:
            values[parameter.name] = value
    if errors:
        raise BadFields(*errors)
    return values


def body(workflow: Workflow, form: MultiDict[str, str]) -> dict[str, Any]:
    """The form as a body of POST /jobs. Raises BadFields naming each bad parameter, or a bad number."""
    return {
        "workflow": workflow.name,
        "params": params(workflow, form),
        "name": form.get("name", "").strip(),
        "requires": form.get("requires", "").replace(",", " ").split(),
        "prefers": _prefers(form.get("prefers", "")),
        "group": form.get("group") or None,
        "min_vram_mb": _whole(form, "min_vram_mb"),
        "priority": 50 if (priority := _whole(form, "priority")) is None else priority,
        "strict": "strict" in form,
    }


def _field(parameter: Parameter, value: Json, errors: Errors) -> FormField:
    checked = value is True or value == "on"
    return FormField(parameter, "" if value is None else str(value), checked, errors.get(f"p.{parameter.name}"))


def _read(parameter: Parameter, text: str) -> Json:
    if parameter.type == "bool":
        return text == "on"  # a box that is not ticked is not sent
    return parameters.typed(parameter, text) if text else None


def _prefers(text: str) -> dict[str, float]:
    try:
        return parameters.preferences(text.replace(",", " ").split())
    except ValueError as error:
        raise BadFields((pointer("prefers"), str(error))) from error


def _whole(form: MultiDict[str, str], name: str) -> int | None:
    text = form.get(name, "").strip()
    if not text:
        return None
    number = parameters.whole(text)
    if number is None:
        raise BadFields((pointer(name), "must be a whole number"))
    return number
