"""How an attempt ended: from what its workflow said, why it was stopped, and how its process died."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import Literal

from agent.attempt.reporter import Reporter
from app.pool.protocol import Report


@dataclass(frozen=True)
class Why:
    """Why an attempt is stopped or killed, by its guard or by main, and what its end is then."""

    cause: str
    end: Literal["failed", "stopped", "cancelled"] = "stopped"
    error: str | None = None


CANCEL = Why("cancel", "cancelled")
GOOD_BYE = Why("good-bye")
OUT_OF_MEMORY = ": out of memory, as the kernel says"
DEADLINE = Why("deadline", error="its worker was cut off from the pool")
SLOT = Why("slot", error="its slot process died")
OF_ORDER = {"checkpoint": GOOD_BYE, **{each.cause: each for each in (CANCEL, DEADLINE, SLOT)}}


def of_order(why: str) -> Why:
    """Main's reason as a Why."""
    return OF_ORDER.get(why) or Why(why)


def failure(cause: str, error: str) -> Why:
    """A Why that is a failure of the job."""
    return Why(cause, "failed", error)


def ending(reporter: Reporter, why: Why | None, code: int | None, starved: bool = False) -> Report:
    """The report of the end. A success that was said in time counts, whatever came after it.

    `starved`: the kernel has killed somebody for lack of memory while it ran.
    """
    said = reporter.ended
    number, exit_code = died(code)
    if said and said.end != "succeeded":
        # A command's exit code is not that of the process which ran it, and which says all this and leaves with 0.
        exit_code = said.exit_code or exit_code or None
    if said and (said.end == "succeeded" or why is None):
        return replace(said, signal=number, exit_code=exit_code)
    if why is None:
        why = failure("workflow", "\n".join([_died(number, exit_code, starved), *reporter.last]))
    error = why.error or (said.error if said else None)
    return reporter.report("end", end=why.end, cause=why.cause, error=error, signal=number, exit_code=exit_code)


def died(code: int | None) -> tuple[int | None, int | None]:
    """The signal that killed a process, or its exit code; of one of which nothing is known, neither."""
    return (-code, None) if code is not None and code < 0 else (None, code)


def killed_by(number: int, starved: bool) -> str:
    """In words, how a process was killed."""
    return f"killed by {signal.Signals(number).name}{OUT_OF_MEMORY if starved and number == signal.SIGKILL else ''}"


def _died(number: int | None, exit_code: int | None, starved: bool) -> str:
    if number is not None:
        return f"its process was {killed_by(number, starved)}"
    return f"its process ended with exit code {exit_code} and said nothing"
