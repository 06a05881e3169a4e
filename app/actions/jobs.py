"""Jobs: submit, cancel, retry. A specification is checked against what the pool knows (job_checks.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.actions import job_checks
from app.actions.actor import Actor
from app.actions.errors import Conflict, Forbidden, Missing
from app.actions.job_checks import FieldErrors
from app.actions.services import Services
from app.ledger import events, groups, jobs
from app.ledger.db import Ledger
from app.ledger.registry import workflows
from app.pool.errors import BadFields, BadRequest
from app.pool.matching import nobody_offers
from app.pool.model import ENDED, Job, JobId, JobSpec, JobState, WaitingReason
from app.pool.settings import ServerSettings


@dataclass(frozen=True)
class Submission:
    """A checked specification; `waiting` says why it cannot start, where that is known at once."""

    spec: JobSpec
    waiting: WaitingReason | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Submitted:
    """A new job, and what is likely a mistake about it, in sentences."""

    job: Job
    warnings: tuple[str, ...]


def find(ledger: Ledger, actor: Actor, job: str) -> Job:
    """The job. Raises Missing, also where the actor may not see it: a creator learns nothing of others' jobs."""
    found = jobs.find(ledger, JobId(job))
    if found is None or not (actor.sees_all or found.spec.owner == actor.name):
        raise Missing("there is no such job")
    return found


def submit(
    tx: Ledger, settings: ServerSettings, actor: Actor, specs: Mapping[str, JobSpec], allow_unknown: bool = False
) -> list[Submitted]:
    """New pending jobs, all or none, in this order; the keys are the JSON pointers of what was sent.

    Runs in the caller's transaction; ring `jobs` once it is committed. Raises Forbidden, or BadFields with a pointer
    for each field that cannot be taken: a workflow, too, that no worker has ever offered, unless `allow_unknown`.
    """
    submissions = check(tx, settings, actor, specs, allow_unknown)
    waiting = {each.spec.requirement.workflow: each.waiting for each in submissions if each.waiting}
    made = jobs.submit_all(tx, [each.spec for each in submissions], waiting)
    return [Submitted(job, each.warnings) for job, each in zip(made, submissions, strict=True)]


def check(
    tx: Ledger, settings: ServerSettings, actor: Actor, specs: Mapping[str, JobSpec], allow_unknown: bool = False
) -> list[Submission]:
    """The checked specifications, each with its owner; their groups cannot be deleted before the commit.

    Raises Forbidden, or BadFields with a pointer for each field that cannot be taken.
    """
    known = job_checks.known(tx, specs.values())
    errors: FieldErrors = []
    submissions = []
    for place, spec in specs.items():
        errors += [(place + field, why) for field, why in known.errors(spec, settings, allow_unknown)]
        owned = replace(spec, owner=_owner(actor, place, spec))
        submissions.append(Submission(owned, known.waiting(spec), known.warnings(spec)))
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


def _owner(actor: Actor, place: str, spec: JobSpec) -> str:
    owner = spec.owner or actor.name
    if owner != actor.name and actor.role != "admin":
        raise Forbidden(f"only admins may name another owner: {place}/owner")
    return owner
