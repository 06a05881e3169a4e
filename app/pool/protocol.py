"""What crosses Redis and the agents' HTTP calls as JSON.

Unknown fields are ignored in both directions, so agents and servers of neighbouring versions
understand each other. Times on the wire are durations or RFC 3339; no two hosts' clocks are compared.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union

from app.pool.model import TAG, FileFact, Gpu, JobId, Json, Then, Word, WorkerId, Workflow

T = TypeVar("T")
SCALARS = frozenset({str, int, float, bool, type(None)})
Build = Callable[[Any], Any]

# The memfd that only the beat process writes: aligned int64 words, CLOCK_BOOTTIME in ns.
# Other attempts end at ORPHAN, or at the job's own max_orphan_s after THROUGH (SIGTERM), and 10 s later (SIGKILL).
DEADLINE_WORDS = ("through", "strict_term", "strict_kill", "orphan")
ORPHAN_KILL_S = 10


@dataclass(frozen=True)
class Within:
    """An annotation: what a number must be between; NaN is not."""

    least: float
    most: float

    def holds(self, value: float) -> bool:
        """Whether this number is."""
        return self.least <= value <= self.most


@dataclass(frozen=True)
class Like:
    """An annotation: the pattern that a whole text must have."""

    pattern: str

    def holds(self, value: str) -> bool:
        """Whether this text has it."""
        return re.fullmatch(self.pattern, value) is not None


# What the pool can work with and store: one worker's beat is not to stop the decisions on all others.
Share = Annotated[float, Within(0, 1)]
Count = Annotated[int, Within(0, 2**63 - 1)]
STORABLE = Like(r"[^\x00\ud800-\udfff]*")
Text = Annotated[str, STORABLE]
JobText = Annotated[JobId, STORABLE]
WorkerText = Annotated[WorkerId, STORABLE]
Tag = Annotated[str, Like(TAG)]


@dataclass(frozen=True)
class Memory:
    """A card's memory in MiB; None where nobody could measure it."""

    ours: Count | None = None
    others: Count | None = None
    free: Count | None = None


@dataclass(frozen=True)
class GpuFigures:
    """A card's figures at a time; None, never 0, where nobody could measure."""

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
    """An attempt that a worker has: from before its claim is sent until its lease has ended and no process is left."""

    job: JobText
    attempt: Count
    slot: Count


@dataclass(frozen=True)
class Beat:
    """A worker says it is alive. `wanted` is the number of the last Wanted that it obeyed."""

    worker: WorkerText
    incarnation: Count
    seq: Count
    interval_ms: Count
    ttl_ms: Count
    boot_id: Text
    slots: Count  # that have started
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
    vram_mb: int = 0  # on each of them
    whole: bool = False  # they are for it alone
    slots: int = 1


class LeaseState(Word):
    GIVEN = "given"
    CLAIMED = "claimed"
    REVOKED = "revoked"
    ENDED = "ended"


@dataclass(frozen=True)
class Lease:
    """An attempt as told to its worker; until it has ended also its reservation of slot and VRAM."""

    attempt: int
    state: LeaseState
    nonce: str | None = None
    gpus: tuple[str, ...] = ()
    vram_mb: int = 0  # on each of its GPUs
    whole: bool = False  # those GPUs are for it alone
    slots: int = 1
    why: str | None = None  # of a revoked one: "cancel" is asked to stop first, all else is killed
    grace_s: float = 0.0
    incarnation: int | None = None  # of the worker that it was given to


@dataclass(frozen=True)
class Wanted:
    """What the coordinator wants of a worker; rises in number with each change."""

    number: int
    intent: str
    restart: int
    interval_ms: int
    missed_beats: int
    queue_depth: int
    max_orphan_s: int
    slots: int | None = None  # None: as many as the agent offers


@dataclass(frozen=True)
class Resume:
    """The checkpoint from which an attempt begins."""

    number: int
    attempt: int
    state: Json
    files: tuple[FileFact, ...] = ()
    progress: float = 0.0


@dataclass(frozen=True)
class Order:
    """What an envelope carries: everything the guard needs to run one attempt."""

    job: JobId
    attempt: int
    worker: WorkerId
    incarnation: int
    workflow: str
    params: dict[str, Json]
    resume: Resume | None = None
    timeout_s: int | None = None
    stall_s: int | None = None
    strict: bool = False
    max_orphan_s: int | None = None  # the job's own; None: the pool's present one
    gpus: tuple[str, ...] = ()


ReportKind = Literal["claim", "progress", "checkpoint", "log", "end", "goodbye"]


@dataclass(frozen=True)
class Report:
    """What a worker reports of an attempt; a good-bye names no job. Repeating one is harmless."""

    kind: ReportKind
    worker: WorkerText
    incarnation: int
    job: JobText | None = None
    attempt: int = 0
    number: int = 0  # of a progress, a checkpoint, the first line of a log
    nonce: Text | None = None  # claim
    fraction: float | None = None  # progress, checkpoint
    text: str = ""
    state: Json = None  # checkpoint
    files: tuple[FileFact, ...] = ()  # checkpoint, end (outputs)
    lines: tuple[str, ...] = ()  # log
    end: Literal["succeeded", "failed", "stopped", "cancelled"] | None = None
    result: Json = None
    error: str | None = None
    cause: str | None = None  # workflow, gpu memory, guard, slot, timeout, stall, deadline, agent, good-bye, cancel
    then: Then | None = None  # what a rule of the workflow says of a failure
    signal: int | None = None
    exit_code: int | None = None


@dataclass(frozen=True)
class Offer:
    """What an agent says it is, when it asks to join (POST /agent/v1/join)."""

    machine_id: str
    boot_id: str
    hostname: str
    name: str
    slots: int
    version: str
    pid: int
    worker: WorkerId | None = None  # of a re-join, with this worker's own token
    address: str | None = None
    port: int | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_reason: str | None = None
    driver: str | None = None
    workflows: tuple[Workflow, ...] = ()
    not_offered: dict[str, str] = field(default_factory=dict)  # workflow -> why
    proof_file: str = ""  # its name under MUSTER_OUTPUT
    proof_text: str = ""


@dataclass(frozen=True)
class Admission:
    """The server's answer to an offer; nothing is registered before it is confirmed."""

    join: str  # id of this join: POST /agent/v1/join/<id>/confirm
    worker: WorkerId
    incarnation: int
    nonce: str
    answer: str  # to be written to join:{nonce}
    token: str  # the worker's own; stored by the agent, valid from the confirmation on
    redis_url: str
    rq_redis_url: str
    prefix: str
    wanted: Wanted


@dataclass(frozen=True)
class Check:
    """One named check of a join; `next_step` says what to do when it failed."""

    name: str
    ok: bool
    seconds: float
    detail: str = ""
    next_step: str = ""


@dataclass(frozen=True)
class WhoIs:
    """What a listening agent answers to GET / on its announced address."""

    worker: WorkerId
    incarnation: int
    boot_id: str
    hostname: str
    name: str
    version: str


def to_json(value: Any) -> str:
    """A dataclass as compact JSON; fields at their default None are kept, order is declaration order."""
    return json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)


def plain(value: Any) -> Any:
    """A dataclass as dicts, lists and scalars."""
    kind: Any = type(value)
    if kind in SCALARS:
        return value
    names = _names(kind)
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@cache
def _names(kind: Any) -> tuple[str, ...] | None:
    """Of a dataclass's fields; None for what is none. Asked once for each kind: a job's envelope asks fifty times."""
    return tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def nested(value: Any) -> int:
    """How many lists and dicts lie in one another at most; without recursion, which is what is to be prevented."""
    levels, within = 0, [value]
    while within := [each for each in within if isinstance(each, (list, tuple, dict))]:
        levels += 1
        within = [item for each in within for item in (each.values() if isinstance(each, dict) else each)]
    return levels


def from_json(kind: type[T], text: str | bytes) -> T:
    """The dataclass that this JSON says; unknown fields are ignored.

    Raises ValueError (json.JSONDecodeError is one) when a field is missing, of the wrong shape or out of its range,
    and for numbers that JSON does not have (NaN, Infinity), wherever they stand.
    """
    try:
        return from_plain(kind, json.loads(text, parse_constant=_finite, parse_float=_finite))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except OverflowError as error:
        raise ValueError("too large a number") from error


def from_plain(kind: type[T], value: Any) -> T:
    """The same from dicts and lists."""
    hashable: Any = kind
    built: T = _builder(hashable)(value)
    return built


def look_up(*kinds: Any) -> None:
    """Make what turns plain values into these: a process that will fork does it once for its forks."""
    for kind in kinds:
        _builder(kind)


@cache
def _builder(kind: Any) -> Build:
    """What turns plain values into this kind. Made once for each kind: beats come by the thousand."""
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is Annotated:
        return _checked(*arguments)
    if origin in (Union, types.UnionType):
        present = _builder(next(a for a in arguments if a is not type(None)))
        return lambda value: None if value is None else present(value)
    if origin is tuple:
        return _tuple(arguments)
    if origin is dict:
        return _dict(kind, arguments[1])
    if origin is Literal:
        return lambda value: _expected(value in arguments, kind, value)
    return _scalar(getattr(kind, "__supertype__", kind))


def _dataclass(kind: Any) -> Build:
    hints, required = _fields(kind)
    builders = [(name, _builder(hint)) for name, hint in hints.items()]

    def build(value: Any) -> Any:
        _expected(isinstance(value, dict), kind, value)
        if missing := required - value.keys():
            raise ValueError(f"{kind.__name__} lacks {', '.join(sorted(missing))}")
        return kind(**{name: built(value[name]) for name, built in builders if name in value})

    return build


def _checked(kind: Any, check: Within | Like) -> Build:
    built = _builder(kind)

    def build(value: Any) -> Any:
        found = built(value)
        return _expected(check.holds(found), check, found)

    return build


def _tuple(arguments: tuple[Any, ...]) -> Build:
    builders = [_builder(kind) for kind in arguments if kind is not Ellipsis]
    repeated = len(arguments) == 2 and arguments[1] is Ellipsis

    def build(value: Any) -> Any:
        _expected(isinstance(value, (list, tuple)), tuple, value)
        if repeated:
            return tuple(map(builders[0], value))
        _expected(len(value) == len(builders), tuple, value)
        return tuple(built(item) for built, item in zip(builders, value))

    return build


def _dict(kind: Any, item_kind: Any) -> Build:
    built = _builder(item_kind)

    def build(value: Any) -> Any:
        _expected(isinstance(value, dict), kind, value)
        return {key: built(item) for key, item in value.items()}

    return build


def _scalar(kind: Any) -> Build:
    if kind is Any:
        return lambda value: value
    if isinstance(kind, type) and issubclass(kind, Word):
        return kind

    def build(value: Any) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        return _expected(isinstance(value, kind) and not isinstance(value, bool), kind, value)

    return build


def _expected(good: bool, kind: Any, value: Any) -> Any:
    if not good:
        raise ValueError(f"expected {getattr(kind, '__name__', kind)}, got {str(value)[:80]!r}")
    return value


def _finite(text: str) -> float:
    number = float(text)
    return float(_expected(math.isfinite(number), "a finite number", text))


def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    required = frozenset(
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}, required
