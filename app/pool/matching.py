"""Does this worker satisfy this requirement, and if not, why. Pure.

The same filters fill the eligible sets and answer "why is my job waiting?". What changes by the
second (load, free slots, free VRAM) is not here: that is decided when a worker is placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.pool.model import Intent, Requirement, WaitingFor, WaitingReason, Worker, Workflow


@dataclass(frozen=True)
class Refusal:
    """The first filter that turned a worker away, and why in words."""

    filter: str
    why: str


def refusal(worker: Worker, requirement: Requirement) -> Refusal | None:
    """Why this worker, as it is set up, may not take such a job; None when it may."""
    for name, check in FILTERS:
        why = check(worker, requirement)
        if why:
            return Refusal(name, why)
    return None


def takes_jobs(worker: Worker) -> bool:
    """Whether people let this worker take new jobs at all."""
    return worker.intent is Intent.ACTIVE


def offered(worker: Worker, workflow: str) -> Workflow | None:
    """The worker's declaration of this workflow, unless it does not offer it or an admin narrowed it away."""
    if worker.allowed_workflows and workflow not in worker.allowed_workflows:
        return None
    return next((w for w in worker.workflows if w.name == workflow), None)


def all_tags(worker: Worker) -> frozenset[str]:
    """The tags that admins set, and those that the agent reports."""
    return frozenset(worker.tags) | frozenset(worker.dynamic_tags)


def largest_mb(worker: Worker) -> int:
    """The memory of its largest card in MiB; 0 without any."""
    return max((gpu.vram_mb for gpu in worker.gpus), default=0)


def nobody_offers(workflow: str) -> WaitingReason:
    """Why a job waits whose workflow no worker has."""
    return WaitingReason(WaitingFor.WORKER, f"no worker offers {workflow}")


def _workflow(worker: Worker, requirement: Requirement) -> str | None:
    if requirement.workflow and offered(worker, requirement.workflow) is None:
        return f"does not offer {requirement.workflow}"
    return None


def _only(worker: Worker, requirement: Requirement) -> str | None:
    if requirement.only_workers and worker.id not in requirement.only_workers:
        return "is not among the named workers"
    return None


def _excluded(worker: Worker, requirement: Requirement) -> str | None:
    return "is excluded" if worker.id in requirement.exclude_workers else None


def _tags(worker: Worker, requirement: Requirement) -> str | None:
    lacking = sorted(set(requirement.tags) - all_tags(worker))
    return f"lacks {_listed(lacking)}" if lacking else None


def _group(worker: Worker, requirement: Requirement) -> str | None:
    if requirement.group and requirement.group not in worker.groups:
        return f"is not in group {requirement.group}"
    return None


def _vram(worker: Worker, requirement: Requirement) -> str | None:
    if requirement.min_vram_mb is None:
        return None
    largest = largest_mb(worker)
    if largest >= requirement.min_vram_mb:
        return None
    return f"has {largest} MiB on its largest GPU, less than {requirement.min_vram_mb}"


def _gpus(worker: Worker, requirement: Requirement) -> str | None:
    if not requirement.gpus or len(worker.gpus) >= requirement.gpus:
        return None
    return f"has {len(worker.gpus)} GPUs, fewer than {requirement.gpus}"


def _blocked(worker: Worker, requirement: Requirement) -> str | None:
    until = worker.blocked.get(requirement.workflow)
    return f"blocked for {requirement.workflow} on {worker.name} {until}" if until else None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


FILTERS = (
    ("workflow", _workflow),
    ("only", _only),
    ("excluded", _excluded),
    ("tags", _tags),
    ("group", _group),
    ("vram", _vram),
    ("gpus", _gpus),
    ("blocked", _blocked),  # last: it ends by itself, what stands before it does not
)
