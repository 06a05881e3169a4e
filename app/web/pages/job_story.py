"""A job's attempts as a story in words, with one entry for each attempt. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.pool.duration import duration, lost_work
from app.pool.model import Attempt, AttemptEnd
from app.pool.protocol import Cause
from app.pool.status import signal_name
from app.web.http.filters import percent

TONES = {
    AttemptEnd.SUCCEEDED: "healthy",
    AttemptEnd.FAILED: "down",
    AttemptEnd.STOPPED: "waiting",
    AttemptEnd.CANCELLED: "waiting",
    AttemptEnd.TAKEN_BACK: "waiting",
    AttemptEnd.TAKEN_AWAY: "degraded",
}


@dataclass(frozen=True)
class Late:
    """A report that came too late, and was refused."""

    attempt: int
    what: str
    at: datetime


@dataclass(frozen=True)
class StoryEntry:
    """One attempt as the page tells it; without a worker for readers who may not see hosts."""

    number: int
    word: str
    tone: str
    worker: str | None
    worker_name: str | None
    began: datetime
    ended: datetime | None
    sentences: tuple[str, ...]
    error: str | None
    checkpoint: str | None  # anchor of the checkpoint that it resumed from
    late: tuple[Late, ...]  # reports that came after its end
    overlap_until: datetime | None  # its host is cut off: it may run there until then, beside the next attempt


def tell(
    attempts: Iterable[Attempt],
    hosts: bool,
    late: Sequence[Late] = (),
    overlaps: Mapping[int, datetime] | None = None,
    own_state: bool = False,
) -> tuple[StoryEntry, ...]:
    """The attempts, the newest first; with `hosts` the reader may see where they ran.

    `overlaps`: by number, until when an attempt on a cut-off host may run. `own_state`: the job was submitted with a
    state to begin from.
    """
    overlaps = overlaps or {}
    return tuple(
        _entry(
            attempt,
            hosts,
            tuple(report for report in late if report.attempt == attempt.number),
            overlaps.get(attempt.number),
            own_state,
        )
        for attempt in reversed(list(attempts))
    )


def late_report(row: Mapping[str, Any]) -> Late:
    """A refused report (attempt, kind, report, at) in words."""
    result = row["kind"] == "end" and (row["report"] or {}).get("end") == "succeeded"
    return Late(row["attempt"], "result" if result else str(row["kind"]), row["at"])


def anchor(attempt: int, number: int) -> str:
    """The anchor of a checkpoint in the page."""
    return f"checkpoint-{attempt}-{number}"


def _entry(
    attempt: Attempt, hosts: bool, late: tuple[Late, ...], overlap_until: datetime | None, own_state: bool
) -> StoryEntry:
    running = "running" if attempt.started_at else "starting"
    resumed = attempt.resumed_from
    return StoryEntry(
        number=attempt.number,
        word=str(attempt.end or running),
        tone=TONES[attempt.end] if attempt.end else "busy",
        worker=attempt.worker if hosts else None,
        worker_name=attempt.worker_name if hosts else None,
        began=attempt.started_at or attempt.assigned_at,
        ended=attempt.ended_at,
        sentences=tuple(sentence for sentence in (_began(attempt, own_state), _ended(attempt)) if sentence),
        error=attempt.error if attempt.end is AttemptEnd.FAILED or attempt.then == "hold" else None,
        checkpoint=anchor(resumed["attempt"], resumed["number"]) if resumed else None,
        late=late,
        overlap_until=overlap_until,
    )


def _began(attempt: Attempt, own_state: bool) -> str:
    if attempt.started_at is None:
        return "has not started" if attempt.end is None else ""
    if attempt.resumed_from is None:
        return "started from the state it was submitted with" if own_state else "started from the beginning"
    at = attempt.resumed_from
    step = f" (step {at['step']})" if at.get("step") is not None else ""
    return f"resumed at {percent(at['fraction'])}{step}, from checkpoint {at['number']} of attempt {at['attempt']}"


def _ended(attempt: Attempt) -> str:
    if attempt.end is None:
        return ""
    if attempt.cause == Cause.NO_ROOM and attempt.error:
        return f"went back before it began: {attempt.error}"
    ending = _END_WORDS[attempt.end] + _after(attempt)
    says_no_more = attempt.cause in (None, Cause.WORKFLOW, attempt.end) or attempt.end is AttemptEnd.SUCCEEDED
    cause = _CAUSE_WORDS.get(attempt.cause or "", attempt.cause)
    rule = f"a rule of its workflow says: {_THEN_WORDS[attempt.then]}" if attempt.then else ""
    lost = lost_work(attempt.lost_s, attempt.lost_steps)
    parts = [ending if says_no_more else f"{ending}: {cause}", _death(attempt), rule, f"{lost} lost" if lost else ""]
    return "; ".join(part for part in parts if part)


_CAUSE_WORDS: Mapping[str, str] = {
    Cause.GPU_MEMORY: "its GPU's memory was used up",
    Cause.SLOT: "its slot process died",
    Cause.AGENT: "its agent gave it up",
    Cause.DEADLINE: "its worker was cut off from the pool",
    Cause.GOOD_BYE: "its worker said good-bye",
    Cause.LOG: "its log was too large",
    Cause.NO_ROOM: "others had filled its card",
}
_THEN_WORDS = {
    "later": "try again later",
    "never": "do not try again",
    "elsewhere": "try another worker",
    "hold": "put the workflow on hold",
}
_END_WORDS = {
    AttemptEnd.SUCCEEDED: "finished",
    AttemptEnd.FAILED: "failed",
    AttemptEnd.STOPPED: "stopped",
    AttemptEnd.CANCELLED: "cancelled",
    AttemptEnd.TAKEN_BACK: "taken back before it started",
    AttemptEnd.TAKEN_AWAY: "taken away",
}


def _after(attempt: Attempt) -> str:
    if attempt.started_at is None or attempt.ended_at is None:
        return ""
    return f" after {duration((attempt.ended_at - attempt.started_at).total_seconds())}"


def _death(attempt: Attempt) -> str:
    if attempt.signal:
        return f"its process was ended by {signal_name(attempt.signal)}"
    return f"its process ended with exit code {attempt.exit_code}" if attempt.exit_code else ""
