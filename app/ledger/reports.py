"""Reports: what workers say of their attempts, applied by compare-and-set.

Each kind is one verb. A report that is not (or no longer) its attempt's right is refused, and kept as
refused. One that was applied before is applied again without effect, because agents repeat themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import Enum

import psycopg
from psycopg.types.json import Jsonb

from app.ledger import deaths, failures, holds, news, open_attempts, policy
from app.ledger.db import Ledger
from app.ledger.failures import Failure, Shortage
from app.ledger.result_warnings import warnings
from app.pool.codec import from_plain, plain, to_json
from app.pool.model import AttemptEnd, JobId, JobState
from app.pool.protocol import Cause, Report
from app.pool.text import storable, unstorable

log = logging.getLogger(__name__)

# Of a report: a number out of range, a value that breaks a rule of the schema.
UNSTORABLE = (psycopg.DataError, psycopg.IntegrityError)
# Ended by the pool or its worker, not by the job: no failure is counted.
NOT_THE_JOBS = frozenset({Cause.DEADLINE, Cause.SLOT, Cause.AGENT})


class Applied(Enum):
    """The fate of a report, and so of its lease."""

    STORED = "stored"  # progress, checkpoint: the lease stays
    CLAIMED = "claimed"
    REPEATED = "repeated"  # a claim that was sent again: its lease is written again, in case Redis forgot it
    ENDED = "ended"
    WORKER_BARRED = "barred"  # ended, and its worker may no longer take what it took: the fleet is read again
    REFUSED = "refused"  # its attempt is not (or no longer) the worker's: the lease is revoked
    DOUBLED = "doubled"  # a second delivery is refused; the lease is that of the first, and stays
    IGNORED = "ignored"  # late or repeated, and nothing follows from it


Shortages = Mapping[tuple[JobId | None, int], Shortage]  # by job and attempt


def apply_all(
    ledger: Ledger, found: Sequence[Report], shortages: Shortages | None = None
) -> list[tuple[Report, Applied]]:
    """Apply reports of jobs in one transaction, and say what became of each.

    A report that PostgreSQL cannot store is dropped with a line in the log, and missing in the answer. Raises
    Unavailable; may be called again with the same reports.
    """
    shortages = shortages or {}
    try:
        return _together(ledger, found, shortages)
    except UNSTORABLE:
        # Each by itself, so that the rest goes on.
        return [outcome for report in found for outcome in _alone(ledger, report, shortages)]


def _together(ledger: Ledger, found: Sequence[Report], shortages: Shortages) -> list[tuple[Report, Applied]]:
    if len(found) == 1 and found[0].kind == "claim":
        # One statement, mostly, and a job waits for it. What may follow it is repeated with the claim.
        return [(found[0], apply(ledger, found[0]))]
    with ledger.transaction() as tx:
        return [(report, apply(tx, report, shortages.get((report.job, report.attempt)))) for report in found]


def _alone(ledger: Ledger, report: Report, shortages: Shortages) -> list[tuple[Report, Applied]]:
    try:
        return _together(ledger, [report], shortages)
    except UNSTORABLE as error:
        log.warning("report dropped: worker=%s job=%s kind=%s: %s", report.worker, report.job, report.kind, error)
        return []


def apply(tx: Ledger, report: Report, shortage: Shortage | None = None) -> Applied:
    """Apply one report of a job inside a transaction; a good-bye is health's affair and ignored.

    `shortage` is what an attempt lacked that ran out of GPU memory. Raises psycopg's DataError or IntegrityError for
    what PostgreSQL cannot store.
    """
    report = _storable(report)
    if report.kind == "claim":
        return _claim(tx, report)
    if report.kind == "progress":
        return _progress(tx, report)
    if report.kind == "checkpoint":
        return _checkpoint(tx, report)
    if report.kind == "end":
        return _end(tx, report, shortage)
    return Applied.IGNORED


def _claim(tx: Ledger, report: Report) -> Applied:
    assert report.job is not None
    nonce = report.nonce or ""
    if claimed := open_attempts.claim(tx, report.job, report.attempt, report.worker, report.incarnation, nonce):
        if report.attempt > 1:
            news.moved(tx, report.job, report.attempt)
        return Applied.CLAIMED if claimed == "now" else Applied.REPEATED
    row = tx.one("report_current", **_whose(report))
    if row and row["mine"] and row["state"] == JobState.RUNNING:
        _refuse(tx, report, "another claim has started this attempt")
        return Applied.DOUBLED
    return _refuse(tx, report, "this attempt is not assigned to this worker")


def _progress(tx: Ledger, report: Report) -> Applied:
    fraction = min(1.0, max(0.0, report.fraction or 0.0))
    moved = tx.do("report_progress", fraction=fraction, text=report.text, number=report.number, **_whose(report))
    return Applied.STORED if moved else Applied.IGNORED


def _checkpoint(tx: Ledger, report: Report) -> Applied:
    kept = tx.do(
        "report_checkpoint",
        number=report.number,
        state=Jsonb(report.state),
        files=Jsonb(plain(report.files)),
        fraction=report.fraction,
        **_whose(report),
    )
    if kept:
        holds.got_through(tx, report.job, report.attempt)
        return Applied.STORED
    if tx.one("report_checkpoint_known", job=report.job, attempt=report.attempt, number=report.number):
        return Applied.IGNORED
    return _refuse(tx, report, "a checkpoint of an attempt that does not run (any more)")


def _end(tx: Ledger, report: Report, shortage: Shortage | None) -> Applied:
    if report.end == "succeeded":
        return _succeeded(tx, report)
    if report.end == "failed" and report.cause not in NOT_THE_JOBS:
        return _held(tx, report) if report.then == "hold" else _failed(tx, report, shortage)
    return _stopped(tx, report)


def _succeeded(tx: Ledger, report: Report) -> Applied:
    if not _move(tx, report, JobState.SUCCEEDED, AttemptEnd.SUCCEEDED):
        return _late(tx, report)
    tx.do(
        "result_accept",
        job=report.job,
        attempt=report.attempt,
        worker=report.worker,
        result=Jsonb(report.result),
        outputs=Jsonb(plain(report.files)),
        warnings=warnings(tx, report),
    )
    holds.got_through(tx, report.job, report.attempt)
    return Applied.ENDED


def _failed(tx: Ledger, report: Report, shortage: Shortage | None) -> Applied:
    row = tx.one("job_failures", job=report.job)
    if row is None:
        return _late(tx, report)
    failed = failures.follows(report, 1 + row["failures"], row["max_failures"], shortage)
    if not _move(tx, report, failed.state, AttemptEnd.FAILED, failed):
        return _late(tx, report)
    holds.got_through(tx, report.job, report.attempt)
    return Applied.WORKER_BARRED if failures.bars(tx, report, row["workflow"]) else Applied.ENDED


def _held(tx: Ledger, report: Report) -> Applied:
    """Apply an end that puts its whole workflow on hold: it counts as stopped, by nobody's failure."""
    if not _move(tx, report, JobState.PENDING, AttemptEnd.STOPPED):
        return _late(tx, report)
    row = tx.one("job_failures", job=report.job)
    assert row is not None
    holds.meet(tx, report, row["workflow"])
    return Applied.ENDED


def _stopped(tx: Ledger, report: Report) -> Applied:
    follows = None
    if report.cause == Cause.NO_ROOM:
        before = tx.one("attempts_without_room", job=report.job, attempt=report.attempt)
        follows = failures.without_room(before["found"] if before else 0)
    if _move(tx, report, JobState.PENDING, AttemptEnd.STOPPED, follows):
        if report.cause == Cause.SLOT and report.job is not None:
            deaths.follow(tx, [report.job], policy.read(tx).poison_deaths)
        return Applied.ENDED
    return _late(tx, report)


def _late(tx: Ledger, report: Report) -> Applied:
    """Apply an end whose attempt does not run: it was cancelled, reported before, or taken away meanwhile."""
    assert report.job is not None
    if open_attempts.end_cancelled(tx, report.worker, report.job, report.attempt):
        return Applied.ENDED
    end_word = str(AttemptEnd.STOPPED) if report.then == "hold" else report.end
    if tx.one("attempt_ended_as", end_word=end_word, **_whose(report)):
        return Applied.ENDED
    return _refuse(tx, report, "the attempt had ended, or had been taken away, before this end arrived")


def _move(tx: Ledger, report: Report, state: JobState, end: AttemptEnd, follows: Failure | None = None) -> bool:
    return 1 == tx.do(
        "job_end",
        state=str(state),
        end_word=str(end),
        failure=1 if end is AttemptEnd.FAILED else 0,
        retry_s=follows.retry_s if follows else None,
        waiting=follows.waiting.words if follows and follows.waiting else None,
        waiting_for=follows.waiting.waiting_for if follows and follows.waiting else None,
        above_vram_mb=follows.above_vram_mb if follows else None,
        cause=report.cause,
        then=report.then,
        error=report.error,
        signal=report.signal,
        exit_code=report.exit_code,
        oom_killed=report.oom_killed,
        from_states=["running"] if report.end == "succeeded" else ["assigned", "running"],
        **_whose(report),
    )


def _refuse(tx: Ledger, report: Report, why: str) -> Applied:
    tx.do("report_refused", kind=report.kind, report=Jsonb(plain(report)), why=why, **_whose(report))
    return Applied.REFUSED


def _whose(report: Report) -> dict[str, object]:
    return {
        "job": report.job,
        "attempt": report.attempt,
        "worker": report.worker,
        "incarnation": report.incarnation,
    }


def _storable(report: Report) -> Report:
    """The report with replacements for what PostgreSQL cannot hold, so that a stray print costs no job its end."""
    written = to_json(report)
    if "\\u0000" in written or unstorable(written):  # \u0000: JSON's way to write NUL, or those letters themselves
        return from_plain(Report, storable(plain(report)))
    return report
