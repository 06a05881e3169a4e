"""What this agent offers: the workflows of its workflows.toml, or without one all that ship.

Only what is declared can run. Nothing of a workflow is executed here: programs and modules are only looked for, and
the workflows that ship say themselves what they need.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from agent.files.kept import patterns
from agent.join import declared_rules, programs
from agent.runners import demands
from agent.workflows import NotOffered, burn, transcode
from app.pool import parameters
from app.pool.codec import from_plain
from app.pool.errors import SettingsError
from app.pool.model import TIME_LIMITS, Demands, Parameter, Rule, Workflow
from app.pool.parameters import GPU_INDICES, PLACE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)

SHIPPED = {"transcode": transcode, "burn": burn}
_KEYS = {key.name for key in fields(Workflow)} - {"name"}
_PARAMETER_KEYS = {key.name for key in fields(Parameter)} - {"name"}
_OUTPUT_KEYS = {key.name for key in fields(Demands)}
_RULE_KEYS = {key.name for key in fields(Rule)}


@dataclass(frozen=True)
class Declared:
    """The workflows that are offered, and those that are not: name -> why."""

    workflows: tuple[Workflow, ...]
    not_offered: dict[str, str] = field(default_factory=dict)


def declared(file: Path | None) -> Declared:
    """What the file declares; without a file, what ships. The log says of what is not offered why.

    Raises SettingsError that names what is wrong in the file.
    """
    shipped, own = (tuple(SHIPPED), {}) if file is None else _read(file)
    offered, not_offered = [], {}
    for name in (*shipped, *own):
        try:
            workflow = own[name] if name in own else SHIPPED[name].declaration()
            programs.check(workflow)
            offered.append(workflow)
        except NotOffered as why:
            not_offered[name] = str(why)
            log.warning("not offered: workflow=%s cause=%s", name, why)
    return Declared(tuple(offered), not_offered)


def _read(file: Path) -> tuple[tuple[str, ...], dict[str, Workflow]]:
    try:
        content = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:  # UnicodeDecodeError and TOMLDecodeError are ValueErrors
        raise SettingsError(f"{file} cannot be read: {error}") from error
    _only(file, "it", content, {"shipped", "workflows"})
    shipped = tuple(content.get("shipped", ()))
    unknown = [name for name in shipped if name not in SHIPPED]
    if unknown:
        raise SettingsError(f"{file}: {unknown[0]!r} does not ship; these do: {', '.join(SHIPPED)}")
    own = {name: _workflow(file, name, table) for name, table in content.get("workflows", {}).items()}
    twice = set(shipped) & set(own)
    if twice:
        raise SettingsError(f"{file}: {min(twice)!r} stands in `shipped` and in `workflows`; choose one")
    return shipped, own


def _workflow(file: Path, name: str, table: dict[str, Any]) -> Workflow:
    _only(file, name, table, _KEYS)
    listed = []
    for parameter, about in table.get("parameters", {}).items():
        _only(file, f"{name}.{parameter}", about, _PARAMETER_KEYS)
        listed.append({"name": parameter, **about})
    _only(file, f"{name}, outputs", table.get("outputs", {}), _OUTPUT_KEYS)
    rules, fail_when = table.get("rules", []), table.get("fail_when", [])
    for what, listing, keys in (("rule", rules, _RULE_KEYS), ("fail_when", fail_when, {"log"})):
        for place, each in enumerate(listing if isinstance(listing, list) else (), 1):
            _only(file, f"{name}, {what} {place}", each, keys)
    try:
        declared_rules.check(rules)
        declared_rules.check_fail_when(fail_when)
        patterns.check(table.get("keep"), table.get("runner"))
        workflow = from_plain(Workflow, {"name": name, **table, "parameters": listed})
        _check(workflow)
    except ValueError as error:
        raise SettingsError(f"{file}: workflow {name}: {error}") from error
    return programs.located(workflow, file.parent)


def _only(file: Path, where: str, table: Any, keys: set[str]) -> None:
    if not isinstance(table, Mapping):
        raise SettingsError(f"{file}: {where} must be a table")
    unknown = table.keys() - keys
    if unknown:
        raise SettingsError(f"{file}: {where} has {min(unknown)!r}; known are {', '.join(sorted(keys))}")


def _check(workflow: Workflow) -> None:
    """Raise ValueError when the declaration contradicts itself."""
    names = {parameter.name for parameter in workflow.parameters}
    if workflow.runner == "command":
        _check_argv(workflow.argv, names)
    elif not all(part.strip() for part in workflow.target.partition(":")):
        raise ValueError("target must be module:function")
    if workflow.python and workflow.runner != "python":
        raise ValueError("python is a word of the python runner; a command names its Python in argv")
    if workflow.slots < 1:
        raise ValueError("slots must be at least 1")
    limits = [getattr(workflow, name) for name in TIME_LIMITS]
    if any(limit is not None and limit < 1 for limit in limits):
        raise ValueError(f"{' and '.join(TIME_LIMITS)} must be at least 1")
    for parameter in workflow.parameters:
        _check_parameter(parameter)
    demands.check(workflow.outputs, workflow.parameters)


def _check_argv(argv: Sequence[str | Sequence[str]], names: set[str]) -> None:
    if not argv or not isinstance(argv[0], str) or not argv[0] or PLACE.search(argv[0]):
        raise ValueError("argv must begin with a program")
    groups = [[each] if isinstance(each, str) else each for each in argv]
    unknown = {place for group in groups for element in group for place in PLACE.findall(element)} - names
    if unknown - {GPU_INDICES}:
        raise ValueError(f"argv names {{{min(unknown - {GPU_INDICES})}}}, which is no declared parameter")
    if GPU_INDICES in names:
        raise ValueError(f"{GPU_INDICES} is the place of the job's GPUs; give the parameter another name")


def _check_parameter(parameter: Parameter) -> None:
    if not PLACE.fullmatch(f"{{{parameter.name}}}"):
        raise ValueError(f"parameter {parameter.name!r}: a name has letters, digits and '_'")
    if (parameter.type == "choice") != bool(parameter.choices):
        raise ValueError(f"parameter {parameter.name}: choices are needed by type choice, and by no other")
    _check_bounds(parameter)
    if parameter.type != "file":
        wrong = parameters.problems([parameter], {parameter.name: parameter.default})
        if wrong and parameter.default is not None:
            raise ValueError(f"parameter {parameter.name}: its default {wrong[0][1]}")


def _check_bounds(parameter: Parameter) -> None:
    for name, bound in (("min", parameter.min), ("max", parameter.max)):
        wrong = bound is not None and parameters.problems([Parameter(name, "float")], {name: bound})
        if wrong or (isinstance(bound, int) and parameters.problems([Parameter(name, "int")], {name: bound})):
            raise ValueError(f"parameter {parameter.name}: its {name} must be a number, of 64 bits where it is whole")
    if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
        raise ValueError(f"parameter {parameter.name}: its min is above its max")
