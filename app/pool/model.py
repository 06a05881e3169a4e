"""The pool's facts: workers, jobs, attempts, and the states they may be in.

Frozen dataclasses only. The statements that move a job or a worker compare what it was, so whoever comes
late changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Literal, NewType

from app.pool.about import described

WorkerId = NewType("WorkerId", str)
JobId = NewType("JobId", str)
Json = Any

ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
TAG = r"^[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}$"
DAY_S = 24 * 60 * 60
LONGEST_S = 365 * DAY_S
MIB = 1024 * 1024
MOST_VRAM_MB = 16 * 1024 * 1024
TIME_LIMITS = ("timeout_s", "stall_s")  # of an attempt: a job, its workflow and the pool may each name them
ORPHAN_KILL_S = 10  # from when an attempt whose deadline has passed is asked to end until it is killed
ID_LENGTH = 12  # 60 random bits; fixed, because key patterns and envelope ids are cut by it


def new_id() -> str:
    """A random id of fixed length without '_' or '-'; no id is given twice, not even after a restore."""
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))


class TextEnum(str, Enum):
    """An enum whose members read and print as their value (StrEnum needs Python 3.11)."""

    __str__ = str.__str__


class Health(TextEnum):
    """What the pool believes of a worker."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    LEFT = "left"


class Degraded(TextEnum):
    """Why a worker is degraded, where its recovery depends on it; the sentence for people is its reason."""

    SILENT = "silent"  # healthy again by its next beat
    TAKES_NOTHING = "takes nothing"  # it beats: healthy again when a slot has taken what lies in its queue


class Intent(TextEnum):
    """What people want of a worker."""

    ACTIVE = "active"
    PAUSED = "paused"


class JobState(TextEnum):
    """Where a job is, as the ledger stores it."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptEnd(TextEnum):
    """How an attempt ended, as the ledger stores it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    TAKEN_BACK = "taken back"
    TAKEN_AWAY = "taken away"


ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True)
class Limits:
    """Sizes that the pool accepts; an error that enforces one names it."""

    params_bytes: int = 64 * 1024
    result_bytes: int = 256 * 1024
    checkpoint_bytes: int = 256 * 1024
    nested: int = 100  # levels of a JSON value
    tags: int = 64
    tag_characters: int = 64
    log_line_bytes: int = 4 * 1024
    error_lines: int = 20  # the last of a log, or of a traceback, that an error ends with
    text_characters: int = 200  # of a progress text, an error's first line, a name


LIMITS = Limits()


@dataclass(frozen=True)
class Gpu:
    """A card as it was at join; memory in MiB."""

    uuid: str
    index: int
    model: str
    vram_mb: int


ParameterType = Literal["string", "int", "float", "bool", "choice", "file"]


@dataclass(frozen=True)
class Parameter:
    """One declared parameter of a workflow."""

    name: str
    type: ParameterType = "string"
    required: bool = False
    default: Json = None
    min: int | float | None = None  # as declared: a float does not hold every whole number
    max: int | float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""


Then = Literal["later", "never", "elsewhere", "hold"]  # when or where a failed attempt's job is tried again


@dataclass(frozen=True)
class Rule:
    """What follows when an attempt of a workflow fails with this exit code, or with such a line in its log."""

    then: Then
    exit_code: int | None = None
    log: str | None = None  # regular expression


@dataclass(frozen=True)
class FailWhen:
    """A line, by a regular expression, that makes the success of an attempt a failure."""

    log: str


@dataclass(frozen=True)
class Demands:
    """Which outputs an attempt of a workflow must leave for its return to count as a success."""

    names: tuple[str, ...] = ()  # with places for parameters and ranges of them
    at_least: int = 0  # files
    not_empty: bool = False  # of those that are named, else of all


@dataclass(frozen=True)
class Workflow:
    """A kind of job as an agent declares it: what runs it and what it takes."""

    name: str
    runner: Literal["command", "python"]
    target: str = ""  # python: "module:function"
    python: str = ""  # python: the path of the interpreter; empty: the agent's own
    argv: tuple[str | tuple[str, ...], ...] = ()  # command: the program, arguments, and groups of such
    gpu_ids: Literal["uuid", "index"] = "uuid"  # how CUDA_VISIBLE_DEVICES names its cards
    parameters: tuple[Parameter, ...] = ()
    slots: int = 1
    vram_mb: int | None = None  # what a job takes that names nothing; None: not declared
    timeout_s: int | None = None  # of jobs that name none; None: the pool's
    stall_s: int | None = None
    rules: tuple[Rule, ...] = ()  # of failures; the first that fits counts
    fail_when: tuple[FailWhen, ...] = ()
    outputs: Demands = Demands()
    keep: tuple[str, ...] | None = None  # command: patterns of what its checkpoints hold; None: all that is there
    help: str = ""


@dataclass(frozen=True)
class Requirement:
    """What a job demands of a worker."""

    workflow: str
    tags: tuple[str, ...] = ()
    prefers: tuple[tuple[str, float], ...] = ()  # (tag, weight)
    group: str | None = None
    min_vram_mb: int | None = described(None, "memory on one GPU", "on one GPU, in MiB", between=(0, MOST_VRAM_MB))
    gpus: int | None = described(None, "number of GPUs", between=(1, 64))
    only_workers: tuple[WorkerId, ...] = described((), "the only workers")
    exclude_workers: tuple[WorkerId, ...] = described((), "excluded workers")
    above_vram_mb: int | None = None  # its last card had so much free and was too small: a card with more


@dataclass(frozen=True)
class Worker:
    """A registered worker as the ledger holds it."""

    id: WorkerId
    name: str
    hostname: str
    host_id: str
    boot_id: str
    incarnation: int
    health: Health
    intent: Intent
    slots: int  # an admin's word, else what its agent offers
    address: str | None = None
    port: int | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_model: str | None = None
    vram_mb: int | None = None  # of all its cards
    workflows: tuple[Workflow, ...] = ()  # what the agent offers
    allowed_workflows: tuple[str, ...] = ()  # an admin's narrowing; empty narrows nothing
    tags: tuple[str, ...] = ()
    dynamic_tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    slots_offered: int = 1  # by its agent
    slots_wanted: int | None = None  # an admin's word; None: as many as its agent offers
    queue_depth: int | None = None  # None: the pool's
    revision: int = 0  # rises with each change of what people let it be given
    paused_until: datetime | None = None
    paused_by: str | None = None  # a person, or 'pool'
    paused_note: str | None = None  # in the words of whoever paused it
    restart: int = 0  # how often people asked for one
    gpu_reason: str | None = None  # why no GPU could be asked at join
    not_offered: Mapping[str, str] = field(default_factory=dict)  # shipped workflow -> why it cannot run there
    blocked: Mapping[str, str] = field(default_factory=dict)  # workflow -> "until … (why)"
    reason: str | None = None  # of its present health, for people
    degraded_as: str | None = None  # a Degraded, or what a later release calls one; None unless it is degraded
    version: str = ""
    driver: str | None = None
    pid: int | None = None
    last_heartbeat: datetime | None = None
    joined_at: datetime | None = None  # when the present incarnation began
    created_at: datetime | None = None


@dataclass(frozen=True)
class FileFact:
    """A file by name, size in bytes and SHA-256 (hex)."""

    name: str
    size: int
    sha256: str
    media_type: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A saved state that was accepted.

    `files` lie under the attempt's checkpoint folder of this number; a command's is the manifest beside its copies.
    """

    job: JobId
    attempt: int
    number: int
    state: Json
    at: datetime
    files: tuple[FileFact, ...] = ()
    fraction: float = 0.0
    kept: bool = True  # False once its files were deleted


@dataclass(frozen=True)
class JobSpec:
    """What a person submits, validated; the ledger adds the rest.

    The one list of these fields: the ledger's rows, the API's bodies and answers and a job's page are made from it
    and from Requirement. The submit form and the command line ask for some of them, which they name themselves.
    """

    requirement: Requirement
    params: Mapping[str, Json] = field(default_factory=dict)
    owner: str = ""
    name: str = ""
    priority: int = described(50, "priority", "higher goes first", between=(0, 100))
    not_before: datetime | None = described(None, "earliest start")
    timeout_s: int | None = described(None, "time limit", "of one attempt's workflow", between=(1, LONGEST_S))
    stall_s: int | None = described(None, "longest silence", "without progress", between=(1, LONGEST_S))
    max_failures: int = described(3, "failures allowed", between=(1, 100))
    max_orphan_s: int | None = described(
        None, "time while cut off", "how long it goes on while cut off", between=(1, DAY_S)
    )
    strict: bool = described(False, "strict", "no overlap of attempts")
    resume: Json = described(None, "state to begin from")
    retry_of: JobId | None = None


class WaitingFor(TextEnum):
    """What a pending job waits for: a slot of a worker that could run it, such a worker, its time, its workflow."""

    SLOT = "slot"
    WORKER = "worker"
    TIME = "time"
    HOLD = "hold"


@dataclass(frozen=True)
class WaitingReason:
    """Why a pending job waits, in words for people; code decides by `waiting_for`."""

    waiting_for: WaitingFor
    words: str


@dataclass(frozen=True)
class Job:
    """A job as the ledger holds it."""

    id: JobId
    spec: JobSpec
    state: JobState
    attempt: int  # number of the present or next attempt; 1 for the first
    failures: int
    worker: WorkerId | None
    incarnation: int | None
    progress: float  # 0 to 1; never falls below the newest checkpoint's
    text: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    not_before: datetime | None = None  # of the next attempt: back-off or the submitter's wish
    error: str | None = None
    waiting: str | None = None  # in words, why a pending job waits, as dispatch last saw it
    waiting_for: WaitingFor | None = None  # what these words say
    failed_on: frozenset[WorkerId] = frozenset()  # goes elsewhere while another worker can run it
    attempt_ended: bool = True  # its newest attempt has no process left; False only while one may run


@dataclass(frozen=True)
class Attempt:
    """One try of a job on one worker, as the ledger holds it."""

    job: JobId
    number: int
    worker: WorkerId
    worker_name: str
    incarnation: int
    assigned_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end: AttemptEnd | None = None
    cause: str | None = (
        None  # a Cause as its worker reported it; "cancelled" of a cancelled one; a sentence of a taken one
    )
    then: Then | None = None  # what a rule of its workflow said of its failure
    error: str | None = None
    signal: int | None = None
    exit_code: int | None = None
    oom_killed: bool = False  # it seems that its host's kernel killed it for want of memory
    resumed_from: Mapping[str, Json] | None = None  # attempt, number, at, fraction, step of the checkpoint
    lost_s: float | None = None
    refused: int = 0
    lost_steps: int | None = None
    placement: Mapping[str, Json] | None = None  # strategy, score, load, parts, runners_up when it was placed
