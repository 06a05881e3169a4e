"""The words people read, computed from what is stored and what is live; never stored as truth."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from app.pool.model import Health, Intent, Job, JobState, Worker

PLURALS = {"is": "are", "has": "have", "does": "do", "lacks": "lack"}  # all other verbs here are the same


@dataclass(frozen=True)
class Clause:
    """A verb that agrees with the number of workers, and what follows it."""

    verb: str  # as it is said of one
    rest: str

    def of(self, workers: int = 1) -> str:
        """The clause as it is said of so many workers, without their names."""
        return f"{self.verb if workers == 1 else PLURALS.get(self.verb, self.verb)} {self.rest}"


FREE_SLOT = "waits for a free slot"  # how the sentence begins of a job that some worker could run

WORKER_STATUSES = ("down", "left", "degraded", "paused", "healthy")
STANDING: Mapping[str, Clause] = {  # in a sentence
    **{word: Clause("is", word) for word in WORKER_STATUSES},
    "left": Clause("has", "left"),
}


def down_words(worker: Worker) -> str:
    """Why a worker is down, in words for the jobs that it ran."""
    return worker.reason or "its worker is down"


def worker_status(worker: Worker, beating: bool = True) -> str:
    """The worker's status: the first of WORKER_STATUSES that holds.

    A healthy worker that is not `beating` is degraded, before the coordinator has said so: a page never shows as
    present what was a worker's last word.
    """
    if worker.health is not Health.HEALTHY:
        return str(worker.health)
    if not beating:
        return str(Health.DEGRADED)
    return str(Intent.PAUSED if worker.intent is Intent.PAUSED else Health.HEALTHY)


def pause_words(worker: Worker) -> str | None:
    """Who paused the worker, until when and why; None for one that is not paused."""
    if worker.intent is not Intent.PAUSED:
        return None
    until = f"until {worker.paused_until:%Y-%m-%d %H:%M} UTC" if worker.paused_until else "until somebody resumes it"
    note = f": {worker.paused_note}" if worker.paused_note else ""
    return f"by {worker.paused_by or 'somebody'}, {until}{note}"


def signal_name(number: int) -> str:
    """A signal's name, or "signal 40" for a number that Python has no name for, as for most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ended_words(code: int) -> str:
    """How a process ended, from its exit code, which is negative for a signal: "exit code 3", "killed by SIGKILL"."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal_name(-code)}"


def job_status(job: Job) -> str:
    """The job's status: waiting, starting, running, running (moving), cancelling, or how it ended.

    A cancelled job is cancelling until its newest attempt has no process left.
    """
    moving = job.started_at is not None
    if job.state is JobState.PENDING:
        return "running (moving)" if moving else "waiting"
    if job.state is JobState.ASSIGNED:
        return "running (moving)" if moving else "starting"
    if job.state is JobState.CANCELLED and not job.attempt_ended:
        return "cancelling"
    return str(job.state)
