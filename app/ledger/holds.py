"""Holds: a workflow whose rule said "hold" waits as a whole, for what every worker lacks, such as a licence.

While a hold lasts no job of the workflow is started. After a back-off one job tries; when it got through, the rest
follow. Which job tries is chosen by the statement that assigns it (waiting_assign), so there is never a second one; it
tries for as long as that attempt is assigned or running, so a cancel or a lost worker passes the try on by itself.

It got through when it succeeded, failed otherwise than by the rule, kept a checkpoint, or ran clearly longer than those
that met the hold. One that was stopped or lost has shown nothing: the try passes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from app.ledger import events
from app.ledger.db import Ledger, Row
from app.ledger.failures import RETRY
from app.pool.model import JobId, WaitingFor, WaitingReason
from app.pool.protocol import Report

# A try has got through when it has run twice as long as those that met the hold, but within these bounds: a licence
# that is lost after hours of work says nothing of how long a start takes, and beyond the longest back-off a wrong guess
# (the rest start, meet the hold again, and no failure is counted) costs less than the wait.
LEAST_S, MOST_S = 10.0, RETRY.most_s


@dataclass(frozen=True)
class Hold:
    """A workflow on hold; `probe` is the job that tries now, `may_try` says that one may and none does."""

    workflow: str
    why: str
    since: datetime
    until: datetime
    met: int  # the attempt that began it, and jobs that have tried in vain since
    probe: JobId | None
    may_try: bool

    @property
    def words(self) -> str:
        """Since when and why the workflow is on hold, and what comes next."""
        begun = f"{self.workflow} is on hold since {_clock(self.since, self.until)}: {self.why}"
        if self.probe:
            return f"{begun}; one job tries now"
        return f"{begun}; {'the next job tries' if self.may_try else _next_try(self.since, self.until)}"

    @property
    def reason(self) -> WaitingReason:
        """Why the jobs of the workflow wait."""
        return WaitingReason(WaitingFor.HOLD, self.words)


def meet(tx: Ledger, report: Report, workflow: str) -> None:
    """Put the workflow on hold by an attempt's end, or for longer when this attempt was the one that tried."""
    whose = {"job": report.job, "attempt": report.attempt}
    known = tx.one("hold_lock", workflow=workflow, **whose) or {"met": 0, "is_probe": False}
    pause_s = RETRY.after(known["met"] + 1)
    why = report.because or "a rule of the workflow"
    row = tx.one("hold_meet", workflow=workflow, why=why, pause_s=pause_s, is_probe=known["is_probe"], **whose)
    if row and not known["met"]:
        sentence = f"{workflow} is on hold: {why}; {_next_try(row['since'], row['until'])}"
        events.record(tx, "workflow.held", sentence, worker=report.worker, job=report.job)


def got_through(tx: Ledger, job: JobId | None, attempt: int) -> None:
    """End the hold in which this attempt tried; does nothing for any other."""
    _tell(tx, tx.all("hold_through", job=job, attempt=attempt))


def outlasted(ledger: Ledger) -> int:
    """End the holds whose try has run for long enough; returns how many."""
    with ledger.transaction() as tx:
        ended = tx.all("holds_outlasted", least_s=LEAST_S, most_s=MOST_S)
        _tell(tx, ended)
    return len(ended)


def lift(ledger: Ledger, workflow: str, actor: str) -> bool:
    """End the workflow's hold at a person's word; False when it is not on hold."""
    with ledger.transaction() as tx:
        lifted = tx.do("hold_lift", workflow=workflow) == 1
        if lifted:
            events.record(tx, "workflow.released", f"{actor} lifted the hold of {workflow}", actor=actor)
    return lifted


def listed(ledger: Ledger, workflow: str | None = None) -> list[Hold]:
    """The holds of all workflows, or of one, by name."""
    return [Hold(**row) for row in ledger.all("holds_listed", workflow=workflow)]


def overtaken(ledger: Ledger) -> set[tuple[JobId, int]]:
    """The attempts, by job and number, that were assigned before their workflow's hold and have not started."""
    return {(row["job"], row["attempt"]) for row in ledger.all("holds_overtaken")}


def _tell(tx: Ledger, ended: Sequence[Row]) -> None:
    for row in ended:
        sentence = f"{row['workflow']} is no longer on hold: job {row['job']} got through"
        events.record(tx, "workflow.released", sentence, job=row["job"])


def _next_try(since: datetime, until: datetime) -> str:
    return f"one job tries again at {_clock(until, since)}"


def _clock(at: datetime, other: datetime) -> str:
    """The time of day, with its date where the other one lies on another day."""
    at = at.astimezone(timezone.utc)
    same_day = at.date() == other.astimezone(timezone.utc).date()
    return f"{at:%H:%M} UTC" if same_day else f"{at:%Y-%m-%d %H:%M} UTC"
