"""How an attempt ended: from what its workflow said, why it was stopped, and how its process died."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import Literal

from agent.attempt.reporter import Reporter
from app.pool.protocol import Cause, Report
from app.pool.status import ended_words


@dataclass(frozen=True)
class EndReason:
    """Why an attempt is stopped or killed, by its guard or by main, and what its end is then."""

    cause: str  # a Cause
    end: Literal["failed", "stopped", "cancelled"] = "stopped"
    error: str | None = None


CANCEL = EndReason(Cause.CANCEL, "cancelled")
GOOD_BYE = EndReason(Cause.GOOD_BYE)
DEADLINE = EndReason(Cause.DEADLINE, error="its worker was cut off from the pool")
SLOT = EndReason(Cause.SLOT, error="its slot process died")
OUT_OF_MEMORY = ": out of memory, as the kernel says"  # for people; the report's oom_killed says it to the pool
OF_ORDER = {"checkpoint": GOOD_BYE, **{reason.cause: reason for reason in (CANCEL, DEADLINE, SLOT)}}


def of_order(why: str) -> EndReason:
    """The reason that main's order names: a cause, or "checkpoint", which is the good-bye's."""
    return OF_ORDER.get(why) or EndReason(why)


def failure(cause: Cause, error: str) -> EndReason:
    """The reason of an end that counts as a failure of the job."""
    return EndReason(cause, "failed", error)


def ending(reporter: Reporter, why: EndReason | None, code: int | None, starved: bool = False) -> Report:
    """The report of the end. A success that was said in time counts, whatever came after it.

    `code`: the exit code of its process, negative for a signal, None where nothing is known of it.
    `starved`: the kernel has killed some process for want of memory while it ran.
    """
    said = _complete(reporter)
    number, exit_code = died(code)
    if said and said.end != "succeeded":
        # A command's exit code is not that of the process which ran it, and which says all this and leaves with 0.
        exit_code = said.exit_code or exit_code or None
    if said and (said.end == "succeeded" or why is None):
        return replace(said, signal=number, exit_code=exit_code)
    if why is None:
        why = failure(Cause.WORKFLOW, "\n".join([_died(number, exit_code, starved), *reporter.last]))
        return replace(_end(reporter, why, number, exit_code), oom_killed=oom_killed(number, starved))
    return _end(reporter, replace(why, error=why.error or (said.error if said else None)), number, exit_code)


def died(code: int | None) -> tuple[int | None, int | None]:
    """The signal that killed a process, or its exit code; neither where nothing is known of it."""
    return (-code, None) if code is not None and code < 0 else (None, code)


def oom_killed(number: int | None, starved: bool) -> bool:
    """True for a process that died of SIGKILL while the kernel was killing for want of memory (`starved`)."""
    return starved and number == signal.SIGKILL


def killed_by(number: int, starved: bool) -> str:
    """In words, how a process was killed."""
    return f"{ended_words(-number)}{OUT_OF_MEMORY if oom_killed(number, starved) else ''}"


def _complete(reporter: Reporter) -> Report | None:
    """What the workflow said of its end, with the last lines of its log where these tell why it failed."""
    said = reporter.ended
    if said is None or said.end != "failed" or not reporter.wants_last:
        return said
    return replace(said, error="\n".join([said.error or "", *reporter.last]))


def _end(reporter: Reporter, why: EndReason, number: int | None, exit_code: int | None) -> Report:
    return reporter.report("end", end=why.end, cause=why.cause, error=why.error, signal=number, exit_code=exit_code)


def _died(number: int | None, exit_code: int | None, starved: bool) -> str:
    if number is not None:
        return f"its process was {killed_by(number, starved)}"
    return f"its process ended with exit code {exit_code} and said nothing"
