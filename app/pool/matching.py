"""Does this worker satisfy this requirement, and if not, why. Pure.

The same filters fill the eligible sets and answer "why is my job waiting?". What changes by the
second (load, free slots, free VRAM) is not here: that is decided when a worker is placed.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.pool.model import Intent, Requirement, TextEnum, WaitingFor, WaitingReason, Worker, Workflow
from app.pool.status import STANDING, Clause, WorkerStatus

NOBODY_JOINED = "no worker has joined the pool yet"


class RefusedBy(TextEnum):
    """What turns a worker away: a word, and the clause that is said of several workers.

    The clause may name what the job requires: {workflow}, {group}, {tags}.
    """

    general: Clause

    def __new__(cls, word: str, general: Clause) -> RefusedBy:
        member = str.__new__(cls, word)
        member._value_ = word
        member.general = general
        return member

    # By how a worker is set up.
    WORKFLOW = "workflow", Clause("does", "not offer {workflow}")
    ONLY = "only", Clause("is", "not among the named workers")
    EXCLUDED = "excluded", Clause("is", "excluded")
    TAGS = "tags", Clause("lacks", "{tags}")
    GROUP = "group", Clause("is", "not in group {group}")
    VRAM = "vram", Clause("has", "too little GPU memory")
    GPUS = "gpus", Clause("has", "too few GPUs")
    SIZE = "size", Clause("has", "too few slots")
    BLOCKED = "blocked", Clause("is", "blocked for this workflow")
    # By how it stands.
    DOWN = "down", STANDING[WorkerStatus.DOWN]
    LEFT = "left", STANDING[WorkerStatus.LEFT]
    DEGRADED = "degraded", STANDING[WorkerStatus.DEGRADED]
    PAUSED = "paused", STANDING[WorkerStatus.PAUSED]
    HEARTBEAT = "heartbeat", Clause("has", "no heartbeat")
    # By what it ran before.
    FAILED = "failed", Clause("failed", "this job before")
    OLDER_ATTEMPT = "older attempt", Clause("may", "still have an older attempt")
    # By the room that it has now.
    SLOTS = "slots", Clause("is", "full")
    CARDS = "cards", Clause("has", "too few free GPUs")
    FREE_VRAM = "free vram", Clause("has", "too little free GPU memory")

    def clause(self, requirement: Requirement) -> Clause:
        """The general clause for a job with this requirement."""
        tags = ", ".join(requirement.tags)
        named = {
            "workflow": requirement.workflow,
            "group": requirement.group,
            "tags": tags if len(requirement.tags) == 1 else f"one of {tags}",
        }
        return Clause(self.general.verb, self.general.rest.format(**named))


@dataclass(frozen=True)
class Refusal:
    """The first filter that turned a worker away, and why."""

    filter: RefusedBy
    clause: Clause

    @property
    def why(self) -> str:
        """Why, as it is said of this one worker."""
        return self.clause.of(1)


def refusal(worker: Worker, requirement: Requirement) -> Refusal | None:
    """Why this worker, as it is set up, may not take such a job; None when it may."""
    for name, check in FILTERS:
        clause = check(worker, requirement)
        if clause:
            return Refusal(name, clause)
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


def _workflow(worker: Worker, requirement: Requirement) -> Clause | None:
    if requirement.workflow and offered(worker, requirement.workflow) is None:
        return RefusedBy.WORKFLOW.clause(requirement)
    return None


def _only(worker: Worker, requirement: Requirement) -> Clause | None:
    if requirement.only_workers and worker.id not in requirement.only_workers:
        return RefusedBy.ONLY.general
    return None


def _excluded(worker: Worker, requirement: Requirement) -> Clause | None:
    return RefusedBy.EXCLUDED.general if worker.id in requirement.exclude_workers else None


def _tags(worker: Worker, requirement: Requirement) -> Clause | None:
    lacking = sorted(set(requirement.tags) - all_tags(worker))
    return Clause("lacks", ", ".join(lacking)) if lacking else None


def _group(worker: Worker, requirement: Requirement) -> Clause | None:
    if requirement.group and requirement.group not in worker.groups:
        return RefusedBy.GROUP.clause(requirement)
    return None


def _vram(worker: Worker, requirement: Requirement) -> Clause | None:
    if requirement.min_vram_mb is None:
        return None
    largest = largest_mb(worker)
    if largest >= requirement.min_vram_mb:
        return None
    return Clause("has", f"{largest} MiB on its largest GPU, less than {requirement.min_vram_mb}")


def _gpus(worker: Worker, requirement: Requirement) -> Clause | None:
    if not requirement.gpus or len(worker.gpus) >= requirement.gpus:
        return None
    return Clause("has", f"{len(worker.gpus)} GPUs, fewer than {requirement.gpus}")


def _blocked(worker: Worker, requirement: Requirement) -> Clause | None:
    until = worker.blocked.get(requirement.workflow)
    return Clause("blocked", f"for {requirement.workflow} on {worker.name} {until}") if until else None


FILTERS = (
    (RefusedBy.WORKFLOW, _workflow),
    (RefusedBy.ONLY, _only),
    (RefusedBy.EXCLUDED, _excluded),
    (RefusedBy.TAGS, _tags),
    (RefusedBy.GROUP, _group),
    (RefusedBy.VRAM, _vram),
    (RefusedBy.GPUS, _gpus),
    (RefusedBy.BLOCKED, _blocked),  # last: it ends by itself, what stands before it does not
)
