"""The parameters of a job, checked by its workflow's declaration, and put into its command.

Nothing here has effects; files are looked at.

The web process checks when a job is submitted, the agent again before it runs: only the agent knows for sure which
files its host has.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from app.pool.model import Json, Parameter, Workflow
from app.pool.status import number
from app.pool.text import unstorable

BadValue = tuple[str, str]  # (parameter, what is wrong)

GPU_INDICES = "gpu_indices"  # a place in an argv that is no parameter's: the job's cards by NVML's index
PLACE = re.compile(r"\{(\w+)\}")
WHOLE = (-(2**63), 2**64 - 1)  # what 64 bits hold, with a sign or without one

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def problems_of(
    workflow: Workflow, params: Mapping[str, Json], folders: Sequence[Path] = (), must_exist: bool = False
) -> list[BadValue]:
    """What `problems` finds, or else the values that would become options of the workflow's command."""
    found = problems(workflow.parameters, params, folders, must_exist)
    return found or _options(workflow, complete(workflow.parameters, params))


def problems(
    declared: Sequence[Parameter],
    params: Mapping[str, Json],
    folders: Sequence[Path] = (),
    must_exist: bool = False,
) -> list[BadValue]:
    """Everything that is wrong with the parameters, in the declaration's order; empty when all is well.

    File parameters must lie under one of `folders` (links resolved) when there are any. `must_exist`: the caller will
    read the files. Without it a missing file counts only where the caller would see it.
    """
    known = {parameter.name for parameter in declared}
    takes = ", ".join(sorted(known)) or "none"
    found = [(name, f"is not a parameter of this workflow; it takes {takes}") for name in params if name not in known]
    for parameter in declared:
        wrong = _wrong(parameter, params.get(parameter.name), folders, must_exist)
        if wrong:
            found.append((parameter.name, wrong))
    return found


def complete(declared: Sequence[Parameter], params: Mapping[str, Json]) -> dict[str, Json]:
    """The parameters with the declaration's defaults; None for one that has neither value nor default."""
    return {p.name: p.default if params.get(p.name) is None else params[p.name] for p in declared}


def arguments(workflow: Workflow, params: Mapping[str, Json]) -> list[str]:
    """The argv with every `{name}` replaced. `params` are complete.

    An element that names a parameter without a value is left out, and a group of elements as a whole.
    """
    return [argument for _, argument in _filled(workflow, params)]


def typed(parameter: Parameter, text: str) -> Json:
    """A text that a person wrote, as a value of the declared type. Raises ValueError saying what is expected."""
    if parameter.type == "bool":
        if text.lower() not in _TRUTH:
            raise ValueError("must be true or false")
        return _TRUTH[text.lower()]
    if parameter.type not in ("int", "float"):
        return text
    try:
        return int(text) if parameter.type == "int" else float(text)
    except ValueError as error:
        raise ValueError(_EXPECTED[parameter.type]) from error


def preferences(words: Iterable[str]) -> dict[str, float]:
    """`tag=weight` words as weights by tag; of a word without a weight 1. Raises ValueError naming one that misfits."""
    weights = {}
    for word in words:
        tag, _, weight = word.partition("=")
        try:
            weights[tag] = float(weight or 1)
        except ValueError:
            raise ValueError(f"{word}: write it as a tag, or as tag=weight with a weight from 0 to 1") from None
    return weights


def whole(text: str) -> int | None:
    """The whole number that a text of 1 to 18 ASCII digits, perhaps after a minus, names; None for another text."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


_EXPECTED = {
    "string": "must be text",
    "choice": "must be text",
    "file": "must be the path of a file",
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
}


def _wrong(parameter: Parameter, value: Json, folders: Sequence[Path], must_exist: bool) -> str | None:
    if value is None:
        return "is required" if parameter.required and parameter.default is None else None
    if not _fits(parameter.type, value):
        return _EXPECTED[parameter.type]
    if parameter.type in ("int", "float"):
        return _out_of_range(parameter, value)
    if parameter.type == "choice" and value not in parameter.choices:
        return f"must be one of {', '.join(parameter.choices)}"
    if parameter.type == "file":
        return _wrong_file(value, folders, must_exist)
    return None


def _fits(kind: str, value: Json) -> bool:
    if isinstance(value, bool) or kind == "bool":
        return isinstance(value, bool) and kind == "bool"
    if kind == "int":
        return isinstance(value, int)
    if kind == "float":
        # A whole number may be too large to become a float.
        return (isinstance(value, float) and math.isfinite(value)) or (isinstance(value, int) and abs(value) < 2**1023)
    return isinstance(value, str) and not unstorable(value)


def _out_of_range(parameter: Parameter, value: float) -> str | None:
    if parameter.type == "int" and not WHOLE[0] <= value <= WHOLE[1]:
        return f"must be from {WHOLE[0]} to {WHOLE[1]}, since it has 64 bits at most"
    if parameter.min is not None and value < parameter.min:
        return f"must be at least {number(parameter.min)}"
    if parameter.max is not None and value > parameter.max:
        return f"must be at most {number(parameter.max)}"
    return None


def _wrong_file(value: str, folders: Sequence[Path], must_exist: bool) -> str | None:
    if not Path(value).is_absolute():
        return "must be an absolute path"
    path = Path(os.path.realpath(value))
    around = [folder for folder in folders if path.is_relative_to(os.path.realpath(folder))]
    if folders and not around:
        return f"must lie under {' or '.join(map(str, folders))}"
    # Without folders there is one host, so everybody sees all files.
    visible = must_exist or not folders or any(folder.is_dir() for folder in around)
    if not visible:
        return None
    # os.path's answer No where pathlib raises: a folder on the way that may not be entered.
    if not os.path.isfile(path):
        return "is not a file" if os.path.exists(path) else "does not exist"  # noqa: PTH110
    return None if os.access(path, os.R_OK) else "cannot be read"


def _filled(workflow: Workflow, params: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """The elements of the argv that are not left out, each with what it becomes."""
    for each in workflow.argv:
        group = (each,) if isinstance(each, str) else each
        if all(params.get(name) is not None for element in group for name in PLACE.findall(element)):
            for element in group:
                yield element, PLACE.sub(lambda place: _text(params[place[1]]), element)


def _options(workflow: Workflow, params: Mapping[str, Json]) -> list[BadValue]:
    """The values that would be read as options; a negative number or a declared choice is meant to be there."""
    free = {parameter.name for parameter in workflow.parameters if parameter.type in ("string", "file")}
    dashed = [element for element, argument in _filled(workflow, params) if argument.startswith("-")]
    first = [place[1] for element in dashed if (place := PLACE.match(element))]
    return [(name, "may not begin with '-': it would be read as an option") for name in first if name in free]


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)
