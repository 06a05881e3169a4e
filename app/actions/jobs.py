"""A submission becomes a job's specification: owner, group and parameters are checked against what is there."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import abort

from app.ledger import groups
from app.ledger.db import Ledger
from app.ledger.registry import workflows
from app.ledger.registry.workflows import Declared
from app.pool import parameters
from app.pool.errors import BadFields, BadRequest
from app.pool.matching import nobody_offers
from app.pool.model import Job, JobSpec, Requirement, WorkerId
from app.pool.settings import ServerSettings
from app.web.http.auth import Caller
from app.web.http.schemas import JobBody

Errors = list[tuple[str, str]]


@dataclass(frozen=True)
class Submission:
    """What is to be submitted; `waiting` says why it cannot start, where that is known at once."""

    spec: JobSpec
    waiting: str | None


def again(ledger: Ledger, spec: JobSpec) -> JobSpec:
    """What is submitted to try an ended job anew; its group may have another name by now. Raises BadRequest."""
    group = spec.requirement.group
    now = groups.successor(ledger, group) if group else None
    if group and (now is None or groups.pin(ledger, [now])):
        raise BadRequest("this job cannot be tried again as it was", [("/group", f"the group {group} was deleted")])
    return replace(spec, requirement=replace(spec.requirement, group=now))


def body_of(job: Job) -> dict[str, Any]:
    """The submission that this job came from, as POST /jobs takes it; the owner is whoever sends it."""
    spec, needs = job.spec, job.spec.requirement
    return {
        "workflow": needs.workflow,
        "params": dict(spec.params),
        "name": spec.name,
        "requires": list(needs.tags),
        "prefers": dict(needs.prefers),
        "group": needs.group,
        "min_vram_mb": needs.min_vram_mb,
        "gpus": needs.gpus,
        "only_workers": list(needs.only_workers),
        "exclude_workers": list(needs.exclude_workers),
        "priority": spec.priority,
        "not_before": None if job.failures else job.not_before,  # after a failure it is the pool's word
        "timeout_s": spec.timeout_s,
        "stall_s": spec.stall_s,
        "max_failures": spec.max_failures,
        "max_orphan_s": spec.max_orphan_s,
        "strict": spec.strict,
        "resume": spec.resume,
    }


def check(ledger: Ledger, settings: ServerSettings, caller: Caller, bodies: Mapping[str, JobBody]) -> list[Submission]:
    """The submissions that these bodies ask for, by their pointers; in a transaction, so that their groups stay
    until it is committed.

    Raises BadRequest naming each field that cannot be taken.
    """
    declared: dict[str, list[Declared]] = {}
    for each in workflows.declared(ledger, list({body.workflow for body in bodies.values()})):
        declared.setdefault(each.workflow.name, []).append(each)
    gone = set(groups.pin(ledger, {body.group for body in bodies.values() if body.group is not None}))
    errors: Errors = []
    found = []
    for pointer, body in bodies.items():
        offers = declared.get(body.workflow, [])
        wrong = _group_errors(gone, body.group) + _params_errors(offers, body, settings)
        errors += [(pointer + field, why) for field, why in wrong]
        spec = _spec(body, _owner(caller, pointer, body))
        found.append(Submission(spec, None if offers else nobody_offers(body.workflow)))
    if errors:
        raise BadFields(*errors)
    return found


def waiting_for(ledger: Ledger, workflow: str) -> str | None:
    """Why a job of this workflow cannot start, where that is known before dispatch has looked at it."""
    return None if workflows.declared(ledger, [workflow]) else nobody_offers(workflow)


def _owner(caller: Caller, pointer: str, body: JobBody) -> str:
    owner = body.owner or caller.owner
    if owner != caller.owner and caller.kind != "admin":
        abort(403, f"only admins may name another owner: {pointer}/owner")
    return owner


def _group_errors(gone: Container[str], group: str | None) -> Errors:
    return [("/group", f"there is no group {group}")] if group is not None and group in gone else []


def _params_errors(declared: Sequence[Declared], body: JobBody, settings: ServerSettings) -> Errors:
    """Against the declaration that fits best: where hosts declare differently, one that fits is enough."""
    tried = [parameters.problems(d.workflow.parameters, body.params, settings.input_folders) for d in declared]
    wrong = min(tried, key=len, default=[])
    return [(f"/params/{name.replace('~', '~0').replace('/', '~1')}", why) for name, why in wrong]


def _spec(body: JobBody, owner: str) -> JobSpec:
    return JobSpec(
        requirement=_requirement(body),
        params=body.params,
        owner=owner,
        name=body.name,
        priority=body.priority,
        not_before=body.not_before,
        timeout_s=body.timeout_s,
        stall_s=body.stall_s,
        max_failures=body.max_failures,
        max_orphan_s=body.max_orphan_s,
        strict=body.strict,
        resume=body.resume,
    )


def _requirement(body: JobBody) -> Requirement:
    return Requirement(
        workflow=body.workflow,
        tags=tuple(body.requires),
        prefers=tuple(body.prefers.items()),
        group=body.group,
        min_vram_mb=body.min_vram_mb,
        gpus=body.gpus,
        only_workers=tuple(WorkerId(worker) for worker in body.only_workers),
        exclude_workers=tuple(WorkerId(worker) for worker in body.exclude_workers),
    )
