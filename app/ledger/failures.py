"""Failures: what follows for the job, another try or its end, and for its worker, a block or a pause."""

from __future__ import annotations

from dataclasses import dataclass

from app.ledger import blocks, policy, several_owners
from app.ledger.db import Ledger
from app.pool.backoff import Backoff
from app.pool.model import JobState, WaitingFor, WaitingReason
from app.pool.protocol import Cause, Report

RETRY = Backoff(5.0, 300.0, least=0.8)
NO_ROOM = Backoff(1.0, 60.0)  # where others fill the card again each time that a job is to begin there


@dataclass(frozen=True)
class Shortage:
    """What an attempt lacked that ran out of GPU memory."""

    had_mb: int | None  # MiB free on its card before it began; None: nobody knows
    larger: bool  # whether a worker that could run the job has a card with more


@dataclass(frozen=True)
class Failure:
    """What becomes of the job: failed, or pending again after `retry_s` seconds (None: at once)."""

    state: JobState
    retry_s: float | None = None
    waiting: WaitingReason | None = None
    above_vram_mb: int | None = None


def follows(report: Report, failures: int, max_failures: int, shortage: Shortage | None) -> Failure:
    """What becomes of a job by its attempt's failure; `failures` counts this one."""
    if report.then == "never" or failures >= max_failures:
        return Failure(JobState.FAILED)
    retry_s = RETRY.after(failures) if _waits(report, shortage) else None
    if shortage is None:
        return Failure(JobState.PENDING, retry_s)
    waiting = None if shortage.larger else _no_larger(shortage)
    return Failure(JobState.PENDING, retry_s, waiting, shortage.had_mb)


def without_room(before: int) -> Failure:
    """What becomes of a job whose card others had filled before it began, as `before` times in a row: no failure.

    At once the first time, since the pool then knows what the card has left; later it waits, so that a program which
    comes and goes does not send it there and back.
    """
    if not before:
        return Failure(JobState.PENDING)
    words = "others filled its card each time that it was to begin there; tried again"
    return Failure(JobState.PENDING, NO_ROOM.after(before), WaitingReason(WaitingFor.TIME, words))


def bars(tx: Ledger, report: Report, workflow: str) -> bool:
    """Block or pause the worker for what failed on it, if that is due; True when it may no longer take what it took."""
    if not speaks_against_worker(report):
        return False
    # The lock comes first: then all that others have written is seen, and of two that see the same one acts.
    tx.one("worker_lock", worker=report.worker)
    blocked = blocks.open_due(tx, report.worker, workflow, policy.read(tx))
    return several_owners.pause_due(tx, report.worker) or blocked


def speaks_against_worker(report: Report) -> bool:
    """False for a failure by what all workers lack, or by a card that was too small.

    The view telling_ends says the same of the ends that the ledger keeps, and two indexes repeat its condition.
    """
    return report.then != "later" and report.cause != Cause.GPU_MEMORY


def _waits(report: Report, shortage: Shortage | None) -> bool:
    """An error is tried again after a back-off, a death at once; unless a rule or a larger card says otherwise."""
    if report.then is not None:
        return report.then == "later"
    if report.cause == Cause.GPU_MEMORY:
        return shortage is None or not shortage.larger
    return report.cause == Cause.WORKFLOW and report.signal is None


def _no_larger(shortage: Shortage) -> WaitingReason:
    than = "a larger card" if shortage.had_mb is None else f"a card with more than {shortage.had_mb} MiB free"
    words = f"ran out of GPU memory, and no worker that could run it has {than}; tried again, elsewhere if possible"
    return WaitingReason(WaitingFor.TIME, words)
