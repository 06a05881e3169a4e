"""Jobs: submit, cancel, retry. A specification is checked against the workflows, groups and files that are there."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from app.actions.actor import Actor
from app.actions.errors import Conflict, Forbidden, Missing
from app.actions.services import Services
from app.ledger import events, groups, jobs
from app.ledger.db import Ledger
from app.ledger.registry import workflows
from app.ledger.registry.workflows import Declaration
from app.pool import parameters
from app.pool.errors import BadFields, BadRequest, pointer
from app.pool.matching import nobody_offers
from app.pool.model import ENDED, Job, JobId, JobSpec, JobState, WaitingReason
from app.pool.settings import ServerSettings

FieldErrors = list[tuple[str, str]]


@dataclass(frozen=True)
class Submission:
    """A checked specification; `waiting` says why it cannot start, where that is known at once."""

    spec: JobSpec
    waiting: WaitingReason | None


def find(ledger: Ledger, actor: Actor, job: str) -> Job:
    """The job. Raises Missing, also where the actor may not see it: a creator learns nothing of others' jobs."""
    found = jobs.find(ledger, JobId(job))
    if found is None or not (actor.sees_all or found.spec.owner == actor.name):
        raise Missing("there is no such job")
    return found


def submit(tx: Ledger, settings: ServerSettings, actor: Actor, specs: Mapping[str, JobSpec]) -> list[Job]:
    """New pending jobs, all or none, in this order; the keys are the JSON pointers of what was sent.

    Runs in the caller's transaction; ring `jobs` once it is committed. Raises Forbidden, or BadFields with a pointer
    for each field that cannot be taken.
    """
    submissions = check(tx, settings, actor, specs)
    waiting = {each.spec.requirement.workflow: each.waiting for each in submissions if each.waiting}
    return jobs.submit_all(tx, [each.spec for each in submissions], waiting)


def check(tx: Ledger, settings: ServerSettings, actor: Actor, specs: Mapping[str, JobSpec]) -> list[Submission]:
    """The checked specifications, each with its owner; their groups cannot be deleted before the commit.

    Raises Forbidden, or BadFields with a pointer for each field that cannot be taken.
    """
    declared = _declared(tx, {spec.requirement.workflow for spec in specs.values()})
    gone = set(groups.pin(tx, {group for spec in specs.values() if (group := spec.requirement.group) is not None}))
    errors: FieldErrors = []
    submissions = []
    for place, spec in specs.items():
        workflow = spec.requirement.workflow
        offers = declared.get(workflow, [])
        wrong = _group_errors(gone, spec.requirement.group) + _params_errors(offers, spec, settings)
        errors += [(place + field, why) for field, why in wrong]
        owned = replace(spec, owner=_owner(actor, place, spec))
        submissions.append(Submission(owned, None if offers else nobody_offers(workflow)))
    if errors:
        raise BadFields(*errors)
    return submissions


def cancel(services: Services, actor: Actor, job: str) -> Job:
    """The cancelled job; a running attempt is told to stop. Cancelling twice is harmless. Raises Missing, Conflict."""
    before = find(services.ledger, actor, job)
    with services.ledger.transaction() as tx:
        cancelled = jobs.cancel(tx, before.id)
        if cancelled:
            events.record(tx, "job.cancelled", f"{actor.name} cancelled it", job=before.id, actor=actor.name)
    if cancelled is None:
        cancelled = find(services.ledger, actor, job)
        if cancelled.state is not JobState.CANCELLED:
            raise Conflict(f"this job has ended already: {cancelled.state}")
    services.ring(f"job {before.id}")
    return cancelled


def retry(services: Services, actor: Actor, job: str) -> Job:
    """A new job with the ended one's specification, which names it in `retry_of`; each call makes one more.

    Raises Missing, Conflict, and BadRequest where its group was deleted.
    """
    old = find(services.ledger, actor, job)
    if old.state not in ENDED:
        raise Conflict(f"this job has not ended: {old.state}; only an ended one can be retried")
    with services.ledger.transaction() as tx:
        spec = replace(_resubmission(tx, old.spec), retry_of=old.id)
        workflow = spec.requirement.workflow
        waiting = None if workflows.declared(tx, [workflow]) else nobody_offers(workflow)
        new = jobs.submit(tx, spec, waiting)
    services.ring("jobs")
    return new


def _resubmission(tx: Ledger, spec: JobSpec) -> JobSpec:
    """The specification of an ended job with its group's present name. Raises BadRequest when the group was deleted."""
    group = spec.requirement.group
    successor = groups.successor(tx, group) if group else None
    if group and (successor is None or groups.pin(tx, [successor])):
        raise BadRequest("this job cannot be tried again as it was", [("/group", f"the group {group} was deleted")])
    return replace(spec, requirement=replace(spec.requirement, group=successor))


def _declared(tx: Ledger, names: set[str]) -> dict[str, list[Declaration]]:
    declared: dict[str, list[Declaration]] = {}
    for declaration in workflows.declared(tx, list(names)):
        declared.setdefault(declaration.workflow.name, []).append(declaration)
    return declared


def _owner(actor: Actor, place: str, spec: JobSpec) -> str:
    owner = spec.owner or actor.name
    if owner != actor.name and actor.role != "admin":
        raise Forbidden(f"only admins may name another owner: {place}/owner")
    return owner


def _group_errors(gone: Container[str], group: str | None) -> FieldErrors:
    return [("/group", f"there is no group {group}")] if group is not None and group in gone else []


def _params_errors(declared: Sequence[Declaration], spec: JobSpec, settings: ServerSettings) -> FieldErrors:
    """The errors by the declaration that fits best: where hosts declare differently, one that fits is enough."""
    tried = [parameters.problems_of(d.workflow, spec.params, settings.input_folders) for d in declared]
    wrong = min(tried, key=len, default=[])
    return [(pointer("params", name), why) for name, why in wrong]
