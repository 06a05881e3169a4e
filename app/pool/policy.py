"""The pool's settings as people change them while it runs: defaults, ranges, labels and help.

A setting is described here and nowhere else; the API, its document and the form are made from the fields. The
ledger stores only what differs from the defaults. The clocks that follow from the settings are properties here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.pool.about import About, described, described_fields
from app.pool.errors import BadRequest
from app.pool.status import number


def missing_s(interval_s: float) -> float:
    """How long the key of a worker that beats every `interval_s` stays missing before the worker is down."""
    return interval_s * 2 / 3


@dataclass(frozen=True)
class Clocks:
    """The durations that follow from the interval between heartbeats; seconds."""

    interval_s: float
    missed_beats: int

    @property
    def ttl_s(self) -> float:
        """How long Redis keeps a beat, and the silence after which a worker is degraded."""
        return (self.missed_beats + 1 / 3) * self.interval_s

    @property
    def down_s(self) -> float:
        """The silence after which a worker that has beaten before is down."""
        return self.ttl_s + missing_s(self.interval_s)

    @property
    def strict_term_s(self) -> float:
        """After the last beat that got through, a strict attempt is asked to end."""
        return self.missed_beats * self.interval_s

    @property
    def strict_kill_s(self) -> float:
        """And is killed: as long as the TTL, but counted from before the beat was sent."""
        return self.ttl_s


LEAST_LOADED, ROUND_ROBIN, CAPABILITY_FIRST = "least-loaded", "round-robin", "capability-first"
STRATEGIES = (LEAST_LOADED, ROUND_ROBIN, CAPABILITY_FIRST)
PLACEMENT, FAILOVER, FAILURES = "Placement", "Heartbeats and failover", "Jobs that fail or stall"


@dataclass(frozen=True)
class Policy:
    """One consistent set of pool settings; times in seconds unless the name says otherwise."""

    heartbeat_interval_s: float = described(
        15.0,
        "Heartbeat interval",
        "How often each worker says that it lives.",
        between=(0.5, 300),
        section=FAILOVER,
    )
    missed_beats: int = described(
        2,
        "Missed heartbeats",
        "So many heartbeats may be missed before a worker is degraded; after one more it is down.",
        between=(1, 10),
        section=FAILOVER,
    )
    fast_failover: bool = described(
        True,
        "Fast failover",
        "Act at once on a lost connection; switched off, silence alone decides.",
        section=FAILOVER,
    )
    strict: bool = described(
        False,
        "Strict",
        "No two attempts of any job ever overlap; moving a job off a silent host takes longer.",
        section=FAILOVER,
    )
    max_orphan_s: int = described(
        600,
        "Cut-off jobs run on for",
        "How long a job that is not strict goes on while its host is cut off.",
        between=(1, 86_400),
        section=FAILOVER,
    )
    timeout_s: int | None = described(
        None,
        "Time limit of an attempt",
        "The longest that an attempt may run, where neither job nor workflow says; empty: no limit.",
        between=(1, 30 * 86_400),
        section=FAILURES,
    )
    stall_s: int | None = described(
        None,
        "Longest silence of an attempt",
        "How long an attempt may be silent (no progress, output or checkpoint); empty: no limit.",
        between=(1, 86_400),
        section=FAILURES,
    )
    cancel_grace_s: int = described(
        5,
        "Grace for cancelled jobs",
        "How long a cancelled job may take to stop before it is killed.",
        between=(0, 300),
        section=FAILURES,
    )
    log_kept_mib: int = described(
        64,
        "Log kept of an attempt (MiB)",
        "A longer log loses its middle: half of this is kept from its beginning, half from its end.",
        between=(1, 4096),
        section=FAILURES,
    )
    log_limit_mib: int | None = described(
        None,
        "Largest log of an attempt (MiB)",
        "An attempt that writes more is ended, as a failure; empty: no limit.",
        between=(1, 1_048_576),
        section=FAILURES,
    )
    poison_deaths: int = described(
        3,
        "Deaths that end a job",
        "A job is failed when workers or slot processes died under it so often, the same one or others, without a "
        "checkpoint in between.",
        between=(1, 100),
        section=FAILURES,
    )
    block_failures: int = described(
        3,
        "Failures in a row that block",
        "A worker is blocked for a workflow that failed there so often in a row while others succeed.",
        between=(1, 100),
        section=FAILURES,
    )
    block_s: int = described(
        3600,
        "Blocked for",
        "How long a worker is blocked for a workflow, unless a person forgives it.",
        between=(60, 30 * 86_400),
        section=FAILURES,
    )
    strategy: str = described(
        LEAST_LOADED,
        "Strategy",
        "Which of the workers that fit gets a job: the least loaded; the one that waited longest for one; "
        "or the one with the least to spare, so that the able ones stay free for what only they can do.",
        choices=STRATEGIES,
        section=PLACEMENT,
    )
    w_gpu: float = described(
        0.4,
        "Weight of GPU use",
        "How much the use of its GPUs counts in a worker's load; of a worker without a GPU, that of its CPUs.",
        between=(0, 1),
        section=PLACEMENT,
    )
    w_queue: float = described(
        0.4,
        "Weight of jobs held",
        "How much the jobs that it holds count, against its slots.",
        between=(0, 1),
        section=PLACEMENT,
    )
    w_vram: float = described(
        0.2,
        "Weight of GPU memory",
        "How much the GPU memory in use counts.",
        between=(0, 1),
        section=PLACEMENT,
    )
    prefer_weight: float = described(
        0.1,
        "Worth of a preferred tag",
        "So much load a worker may have more and still win, where it has a preferred tag of weight 1.",
        between=(0, 1),
        section=PLACEMENT,
    )
    queue_depth: int = described(
        0,
        "Queue depth",
        "So many jobs may wait behind each worker's slots.",
        between=(0, 1_000),
        section=PLACEMENT,
    )
    vram_reserve_mb: int = described(
        256,
        "GPU memory kept back (MiB)",
        "So much of each card's memory is never given to jobs: driver and contexts take some too.",
        between=(0, 65_536),
        section=PLACEMENT,
    )
    others_vram_mb: int = described(
        2048,
        "GPU memory that others may hold (MiB)",
        "A whole card is given only while programs that are not the pool's, and the driver, hold no more than this of "
        "it, and at most half: enough for a desktop.",
        between=(256, 65_536),
        section=PLACEMENT,
    )

    @property
    def clocks(self) -> Clocks:
        """What follows from interval and missed beats."""
        return Clocks(self.heartbeat_interval_s, self.missed_beats)


def changed(policy: Policy, changes: Mapping[str, Any]) -> Policy:
    """The policy with these changes. Raises BadRequest naming each bad field and its range."""
    errors = [(name, problem) for name, value in changes.items() if (problem := _problem(name, value))]
    if errors:
        raise BadRequest("some settings cannot be taken", errors)
    values: dict[str, Any] = {name: None if value is None else _kind(name)(value) for name, value in changes.items()}
    found = replace(policy, **values)
    if not any(getattr(found, name) for name in WEIGHTS):
        why = "one of the load's weights must be more than 0"
        raise BadRequest("some settings cannot be taken", [(name, why) for name in WEIGHTS if name in changes])
    return found


def _kind(name: str) -> type:
    """The type of a setting's value where that is not None."""
    default = getattr(DEFAULTS, name)
    return int if default is None else type(default)


def _problem(name: str, value: Any) -> str | None:
    if name not in NAMES:
        return "there is no such setting"
    if value is None and name in NULLABLE:
        return None
    about = ABOUT[name]
    if about.choices:
        return None if value in about.choices else f"must be one of {', '.join(about.choices)}"
    kind = _kind(name)
    if kind is bool:
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"must be {NUMBERS[kind]}"
    assert about.low is not None and about.high is not None
    if not about.low <= value <= about.high:
        return f"must be from {number(about.low)} to {number(about.high)}"
    return f"must be {NUMBERS[kind]}" if kind is int and value != int(value) else None


DEFAULTS = Policy()
ABOUT: Mapping[str, About] = described_fields(Policy)  # every setting, in the order of its declaration
NAMES = tuple(ABOUT)
WEIGHTS = ("w_gpu", "w_queue", "w_vram")
NULLABLE = frozenset(name for name in NAMES if getattr(DEFAULTS, name) is None)
NUMBERS = {int: "a whole number", float: "a number"}
