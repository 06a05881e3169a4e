"""Workflows over HTTP: what the workers can run, with the parameters that forms and the command line need."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Literal

from flask import Response
from pydantic import BaseModel

from app.ledger.registry import workflows
from app.ledger.registry.workflows import Declaration
from app.pool.model import Parameter, ParameterType
from app.web.http import blueprints
from app.web.http.auth import PEOPLE
from app.web.http.responses import answer
from app.web.http.services import services

blueprint = blueprints.group("workflows", reads=PEOPLE)


class ParameterAnswer(BaseModel):
    """A declared parameter."""

    name: str
    type: ParameterType
    required: bool
    default: Any
    min: int | float | None
    max: int | float | None
    choices: list[str]
    help: str


class DeclarationAnswer(BaseModel):
    """One way in which workers declare a workflow."""

    runner: Literal["command", "python"]
    parameters: list[ParameterAnswer]
    slots: int
    vram_mb: int | None
    help: str
    workers: list[str]


class WorkflowAnswer(BaseModel):
    """A workflow; with more than one declaration its workers disagree, and the most common stands first."""

    name: str
    declarations: list[DeclarationAnswer]


class WorkflowList(BaseModel):
    """The workflows by name."""

    items: list[WorkflowAnswer]
    next: None = None


@blueprint.get("/workflows", responses={200: WorkflowList})
def listed() -> Response:
    """List what the workers can run."""
    by_name = groupby(workflows.declared(services().ledger), lambda declared: declared.workflow.name)
    items = [WorkflowAnswer(name=name, declarations=[_shown(way) for way in ways]) for name, ways in by_name]
    return answer(WorkflowList(items=items))


def _shown(declared: Declaration) -> DeclarationAnswer:
    workflow = declared.workflow
    return DeclarationAnswer(
        runner=workflow.runner,
        parameters=[_parameter(parameter) for parameter in workflow.parameters],
        slots=workflow.slots,
        vram_mb=workflow.vram_mb,
        help=workflow.help,
        workers=list(declared.workers),
    )


def _parameter(parameter: Parameter) -> ParameterAnswer:
    return ParameterAnswer(**{**vars(parameter), "choices": list(parameter.choices)})
