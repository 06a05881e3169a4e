"""The words people read, computed from what is stored and what is live; never stored as truth."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.pool.model import Health, Intent, Job, JobState, TextEnum, Worker

PLURALS = {  # all other verbs here are the same
    "is": "are",
    "has": "have",
    "does": "do",
    "lacks": "lack",
    "leaves": "leave",
    "goes": "go",
    "offers": "offer",
}
FREE_SLOT = "waits for a free slot"  # how the sentence begins of a job that some worker could run
RESUMED = "until somebody resumes it"


class JobStatus(TextEnum):
    """Where a job is, as people see it: a job's state, and what its attempts make of it."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    MOVING = "running (moving)"  # it has run, and goes on elsewhere
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WorkerStatus(TextEnum):
    """How a worker stands, as people see it: the first of these that holds."""

    DOWN = "down"
    LEFT = "left"
    DEGRADED = "degraded"
    PAUSED = "paused"
    HEALTHY = "healthy"

    @property
    def is_gone(self) -> bool:
        """True for a worker that has no agent now: it is down or has left."""
        return self in (WorkerStatus.DOWN, WorkerStatus.LEFT)


@dataclass(frozen=True)
class Clause:
    """A verb that agrees with the number of workers, and what follows it."""

    verb: str  # as it is said of one
    rest: str

    def of(self, workers: int = 1) -> str:
        """The clause as it is said of so many workers, without their names."""
        return f"{_agreeing(self.verb, workers)} {self.rest}"


STANDING: Mapping[WorkerStatus, Clause] = {  # in a sentence
    **{status: Clause("is", status.value) for status in WorkerStatus},
    WorkerStatus.LEFT: Clause("has", "left"),
}


def number(value: float) -> str:
    """A number as a person would write it: every digit, and no zero behind the point for nothing."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return str(int(value) if whole else value)


def size(count: float) -> str:
    """So many bytes as a person would write them: in bytes, KiB, MiB, GiB or TiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def counted(number: int, noun: str, verb: str = "") -> str:
    """The number with its noun in the singular or plural, and a verb that agrees: "1 job is", "2 jobs are"."""
    words = f"{number} {noun}{'' if number == 1 else 's'}"
    return f"{words} {_agreeing(verb, number)}" if verb else words


def listed(names: Sequence[str], most: int, between: str = ", ") -> str:
    """The first `most` of these names, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def and_more(names: Sequence[str], what: str) -> str:
    """What all of these are, by the name of the first: "a is empty", "a and 2 more are empty"."""
    return f"{names[0]} is {what}" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more are {what}"


def capitalised(words: str) -> str:
    """The words with a capital at their beginning; the rest stays as it is."""
    return words[:1].upper() + words[1:]


def sentence(words: str) -> str:
    """The words as a whole sentence, with a capital and a full stop; a question has its mark already."""
    return capitalised(words) + ("" if words.endswith("?") else ".")


def until_words(moment: datetime | None, without: str = RESUMED) -> str:
    """Until when a pause lasts, to the minute in UTC; `without` is said of one that has no end."""
    return f"until {moment:%Y-%m-%d %H:%M} UTC" if moment else without


def down_words(worker: Worker) -> str:
    """Why a worker is down, in words for the jobs that it ran."""
    return worker.reason or "its worker is down"


def worker_status(worker: Worker, beating: bool = True) -> WorkerStatus:
    """The worker's status.

    A healthy worker that is not `beating` is degraded, before the coordinator has said so: a page never shows as
    present what was a worker's last word.
    """
    if worker.health is not Health.HEALTHY:
        return WorkerStatus(worker.health)
    if not beating:
        return WorkerStatus.DEGRADED
    return WorkerStatus.PAUSED if worker.intent is Intent.PAUSED else WorkerStatus.HEALTHY


def pause_words(worker: Worker) -> str | None:
    """Who paused the worker, until when and why; None for one that is not paused."""
    if worker.intent is not Intent.PAUSED:
        return None
    note = f": {worker.paused_note}" if worker.paused_note else ""
    return f"by {worker.paused_by or 'somebody'}, {until_words(worker.paused_until)}{note}"


def signal_name(number: int) -> str:
    """A signal's name, or "signal 40" for a number that Python has no name for, as for most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ended_words(code: int) -> str:
    """How a process ended, from its exit code, which is negative for a signal: "exit code 3", "killed by SIGKILL"."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal_name(-code)}"


def job_status(job: Job) -> JobStatus:
    """The job's status. A cancelled job is cancelling until its newest attempt has no process left."""
    moving = job.started_at is not None
    if job.state is JobState.PENDING:
        return JobStatus.MOVING if moving else JobStatus.WAITING
    if job.state is JobState.ASSIGNED:
        return JobStatus.MOVING if moving else JobStatus.STARTING
    if job.state is JobState.CANCELLED and not job.attempt_ended:
        return JobStatus.CANCELLING
    return JobStatus(job.state)


def _agreeing(verb: str, number: int) -> str:
    return verb if number == 1 else PLURALS.get(verb, verb)
