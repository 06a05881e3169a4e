"""What crosses Redis and the agents' HTTP calls as JSON.

Unknown fields are ignored in both directions, so agents and servers of neighbouring versions
understand each other. Times on the wire are durations or RFC 3339; no two hosts' clocks are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from app.pool.codec import Like, Within
from app.pool.model import TAG, FileFact, JobId, Json, TextEnum, Then, WorkerId
from app.pool.text import STORABLE

# What the pool can work with and store. Anything else is refused when it is read: one worker's beat must not
# stop the decisions on all others.
Share = Annotated[float, Within(0, 1)]
Count = Annotated[int, Within(0, 2**63 - 1)]
Text = Annotated[str, Like(STORABLE)]
JobText = Annotated[JobId, Like(STORABLE)]
WorkerText = Annotated[WorkerId, Like(STORABLE)]
Tag = Annotated[str, Like(TAG)]


@dataclass(frozen=True)
class Memory:
    """A card's memory in MiB; None where nobody could measure it."""

    ours: Count | None = None
    others: Count | None = None
    free: Count | None = None


@dataclass(frozen=True)
class GpuFigures:
    """A card's figures at one moment; None, never 0, where nobody could measure."""

    uuid: Text
    index: Count
    model: Text = ""
    vram_mb: Count | None = None
    utilisation: Share | None = None  # mean since the last beat
    memory: Memory = Memory()
    temperature_c: Annotated[int, Within(-(2**31), 2**31 - 1)] | None = None
    power_w: Annotated[float, Within(0, 2**32)] | None = None
    sm_clock_mhz: Count | None = None
    memory_clock_mhz: Count | None = None
    pids: tuple[Count, ...] = ()
    reason: Text | None = None  # why figures are missing


@dataclass(frozen=True)
class AttemptRef:
    """An attempt that a worker has.

    It is listed from before its claim is sent until its lease has ended and no process is left.
    """

    job: JobText
    attempt: Count
    slot: Count
    saved_s: Count = field(default=0, compare=False)  # how long its files were saved by now: no time limit counts that


@dataclass(frozen=True)
class Beat:
    """A worker says that it is alive, and what it has. `wanted` is the number of the last Wanted that it obeyed."""

    worker: WorkerText
    incarnation: Count
    seq: Count
    interval_ms: Count
    ttl_ms: Count
    boot_id: Text
    slots: Count  # slot processes that have started
    free_slots: Count
    attempts: tuple[AttemptRef, ...] = ()
    gpus: tuple[GpuFigures, ...] = ()
    gpu_reason: Text | None = None
    cpu: Share | None = None  # of the host
    tags: tuple[Tag, ...] = ()  # dynamic ones
    wanted: Count = 0
    leaving: bool = False


@dataclass(frozen=True)
class Reservation:
    """What an attempt holds of its worker."""

    gpus: tuple[str, ...] = ()
    vram_mb: int = 0  # on each of these GPUs
    whole: bool = False  # these GPUs are for it alone
    slots: int = 1


class Cause(TextEnum):
    """Why an attempt ended, as its worker reports it.

    Reports and the ledger hold causes as text: an agent of a later release may have others, which decide nothing here.
    """

    WORKFLOW = "workflow"  # by its own word, or its process died
    GPU_MEMORY = "gpu memory"  # its card was too small for it
    GUARD = "guard"  # its guard died, or could not prepare it
    SLOT = "slot"  # its slot process died
    TIMEOUT = "timeout"
    STALL = "stall"  # it gave no sign of progress
    LOG = "log"  # it wrote more than its log may hold
    DEADLINE = "deadline"  # none of its worker's beats had got through until then
    AGENT = "agent"  # its agent gave it up: its lease was revoked, or the agent was ended
    GOOD_BYE = "good-bye"  # its worker left
    NO_ROOM = "no room"  # others had filled its card before it began
    CANCEL = "cancel"


class Revocation(TextEnum):
    """Why a lease is revoked. Agents compare CANCEL only: what runs is then asked to stop, else it is killed."""

    CANCEL = "cancel"
    TAKEN = "taken away"
    REFUSED = "refused"


class LeaseState(TextEnum):
    """How far an attempt is, as its worker is told; a lease only moves on."""

    GIVEN = "given"  # reserved; its envelope may be taken
    CLAIMED = "claimed"  # its claim, by the nonce that stands beside, was accepted
    REVOKED = "revoked"  # it is to end
    ENDED = "ended"  # its end was applied and its reservation is over; the entry goes after a newer beat


@dataclass(frozen=True, kw_only=True)
class Lease(Reservation):
    """An attempt as its worker is told of it, with what it holds there until it has ended."""

    attempt: int
    state: LeaseState
    nonce: str | None = None
    why: str | None = None  # of a revoked one: a Revocation
    grace_s: float = 0.0
    incarnation: int | None = None  # of its worker when it was given


@dataclass(frozen=True)
class Wanted:
    """What the coordinator wants of a worker; the number rises with each change.

    Agents obey `interval_ms`, `missed_beats`, `max_orphan_s` and `slots`, and no other: the coordinator alone acts on
    the intent and the queue depth, and nobody on `restart`. All fields stay, since earlier agents expect them.
    """

    number: int
    intent: str
    restart: int
    interval_ms: int
    missed_beats: int
    queue_depth: int
    max_orphan_s: int
    slots: int | None = None  # None: as many as the agent offers


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint from which an attempt begins."""

    number: int
    attempt: int
    state: Json
    files: tuple[FileFact, ...] = ()
    progress: float = 0.0


@dataclass(frozen=True)
class Order:
    """What an envelope carries: everything that the guard needs to run one attempt."""

    job: JobId
    attempt: int
    worker: WorkerId
    incarnation: int
    workflow: str
    params: dict[str, Json]
    resume: ResumePoint | None = None
    timeout_s: int | None = None
    stall_s: int | None = None
    strict: bool = False
    max_orphan_s: int | None = None  # the job's own; None: the pool's present one
    gpus: tuple[str, ...] = ()
    free_mb: int = 0  # that were free on each of them
    others_mb: int | None = None  # they are for it alone, while others hold no more MiB of each than this
    log_limit_mib: int | None = None  # of text; an attempt that writes more is ended


ReportKind = Literal["claim", "progress", "checkpoint", "end", "goodbye"]


@dataclass(frozen=True)
class Report:
    """What a worker reports of an attempt; a good-bye names no job. Repeating a report is harmless."""

    kind: ReportKind
    worker: WorkerText
    incarnation: int
    job: JobText | None = None
    attempt: int = 0
    number: int = 0  # of a progress or a checkpoint
    nonce: Text | None = None  # claim
    fraction: float | None = None  # progress, checkpoint
    text: str = ""
    state: Json = None  # checkpoint
    files: tuple[FileFact, ...] = ()  # checkpoint, end (outputs)
    end: Literal["succeeded", "failed", "stopped", "cancelled"] | None = None
    result: Json = None
    error: str | None = None
    cause: str | None = None  # of an end: a Cause, or what a later release calls one
    then: Then | None = None  # of a failure: what a rule of its workflow says
    because: Text | None = None  # the line, or the exit code, that the rule fits
    signal: int | None = None
    exit_code: int | None = None
    oom_killed: bool = False  # killed while the kernel of its host killed for want of memory
