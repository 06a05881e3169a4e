"""The attempt handle: one attempt as main has it, from its guard's first message until nothing of it is left.

The guard decides when its attempt ends; main only sees to it that this happens. A guard that main has told to end
the attempt has a second more than the guard itself would take (OVERDUE_S), and then main kills it by pidfd.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from agent.attempt.ending import CANCEL, DEADLINE, GOOD_BYE, SLOT, EndReason, failure
from agent.attempt.work_time import WorkTime
from agent.gpus.promise import Promise, PromiseCheck
from agent.ipc.deadline import Deadline
from agent.ipc.link import Link, Message
from agent.log.spool import Portion
from agent.processes import oom_kills
from app.pool.codec import from_plain
from app.pool.log.portion import PortionHead
from app.pool.model import JobId
from app.pool.protocol import AttemptRef, Cause, Lease, LeaseState, Report, Revocation

LOOKING_S = 3.0  # a guard that is silent for longer is killed
BEGIN_S = 10.0  # the same for one that has not begun to look: RQ waits for Redis first
OVERDUE_S = 1.0  # the same for one that has not done what it was told
FINISH_S = 6.0  # the same for one that has said its end, and only writes the rest of its log


class Claim(Enum):
    """The state of a guard's claim, as main knows it."""

    NONE = "none"  # not made yet
    HELD = "held"  # a process of an older attempt of this job lives
    SENT = "sent"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    GIVEN_BACK = "given back"  # never made: the attempt goes back to the pool


# Why main ends an attempt; reported when its guard can no longer say it.
CANCELLED = replace(CANCEL, error="cancelled")
STOPPED = replace(GOOD_BYE, error="its worker said good-bye")
LOST = EndReason(Cause.AGENT, error="its lease was revoked")
SILENT = failure(Cause.GUARD, f"its guard was silent for {LOOKING_S:g} s")
STUCK = replace(SLOT, error=f"its guard had not begun after {BEGIN_S:g} s")
GUARD_DIED = failure(Cause.GUARD, "its guard died")
OVERTIME = failure(Cause.TIMEOUT, "it ran longer than its timeout")


@dataclass(frozen=True)
class SlotRef:
    """A slot's number, and the pid of its process when it forked the guard."""

    number: int
    pid: int


class Ear(Protocol):
    """Who hears what is neither a claim nor an end."""

    def tag(self, tag: str, has: bool) -> None:
        """Note that the workflow adds a tag (True) or drops it."""

    def portion(self, portion: Portion) -> None:
        """Note that a portion of the log was written."""


class AttemptHandle:
    """An attempt's state, and the line to its guard. All calls come from the table of attempts (table.py)."""

    def __init__(self, introduction: Message, slot: SlotRef, deadline: Deadline, link: Link, now: float) -> None:
        self.job = JobId(introduction["job"])
        self.attempt: int = introduction["attempt"]
        self.nonce: str = introduction["nonce"]
        self.pid: int = introduction["pid"]  # the guard's
        self.slot = slot.number
        self.promise = Promise(tuple(introduction["gpus"]), introduction["free_mb"], introduction["others_mb"])
        self.check_promise = PromiseCheck(self.promise)
        self.link = link
        self.oom_kills = oom_kills()
        self.claim = Claim.NONE
        self.heard_at = now
        self._looks = False  # its guard has begun to look at its clocks
        self.kill_at: float | None = None  # when main kills what its guard has not ended
        self.reason: EndReason | None = None
        self.end: Report | None = None  # as the guard said it
        self.status: int | None = None  # how the guard ended, in the words of wait(2)
        self.slot_code: int | None = None  # how its slot ended, if that died first
        self.gone_at: float | None = None  # when its line ended
        self.alone = False  # its guard has said that it left no process behind
        self.buried = False  # no process is left
        self.settled = False  # its lease says ended or revoked, or it never had a right to one
        self._deadline = deadline
        self._timeout_s: int | None = introduction["timeout_s"]
        self._work_time = WorkTime()
        self._now = now  # of the last look
        # Pidfds, so that no later process of that pid is hit. None: it has died already.
        self._pidfd = _pidfd(self.pid)
        self._slot_pidfd = _pidfd(slot.pid)

    @property
    def ref(self) -> AttemptRef:
        """The attempt as a beat lists it."""
        return AttemptRef(self.job, self.attempt, self.slot, int(self._work_time.saved_s(self._now)))

    @property
    def may_hold_cards(self) -> bool:
        """False once no process of it is left, and of one that was not let begin."""
        return not self.buried and self.claim not in (Claim.REFUSED, Claim.GIVEN_BACK)

    @property
    def unexplained(self) -> bool:
        """True while the guard is dead and the slot has yet to say how, or to be found dead too."""
        return self._guards_own and self.reason is None and self.status is None

    @property
    def fell_with_slot(self) -> bool:
        """True when the slot died without having seen the guard's end: then the slot took the guard along.

        The kernel tells the guard of its slot's end before the slot is dead; the guard may take that for a signal
        that somebody sent.
        """
        if not self._guards_own or self.reason not in (None, SLOT, SILENT) or self.status is not None:
            return False
        return self._slot_pidfd is None or bool(select.select([self._slot_pidfd], [], [], 0)[0])

    def hear(self, now: float, ear: Ear) -> list[Report]:
        """Read what the guard said. Returns its reports but for the end, which waits until no process is left."""
        reports = []
        for message in self.link.receive():
            self.heard_at = now
            kind = message["m"]
            if kind == "claim" and self.claim is Claim.NONE:
                self.claim = Claim.HELD
            elif kind == "report" and (report := self._report(message["report"], now)):
                reports.append(report)
            elif kind == "tag":
                ear.tag(message["tag"], message["has"])
            elif kind == "portion":
                head = from_plain(PortionHead, message["head"])
                ear.portion(Portion(self.job, self.attempt, head, message["size"]))
            else:
                self._note(kind, message, now)
        if self.link.gone and self.gone_at is None:
            self.gone_at = now
        return reports

    def obey(self, lease: Lease, now: float) -> None:
        """Do what the lease says. One of a lower attempt says nothing: Redis forgot something."""
        if lease.attempt < self.attempt:
            return
        over = lease.attempt > self.attempt or lease.state in (LeaseState.REVOKED, LeaseState.ENDED)
        self.settled = self.settled or over
        if self.gone_at is not None:
            return
        if self.claim in (Claim.HELD, Claim.SENT):
            self._answer(lease, over, now)
        elif over and self.claim is Claim.ACCEPTED:
            self._end_for(lease, now)

    def refuse(self) -> None:
        """Tell the guard that its workflow may not start."""
        self.claim = Claim.REFUSED
        self.settled = True
        self.link.send({"m": "refused"})

    def give_back(self, why: str) -> None:
        """Have the attempt end before it claims, through no fault of its own."""
        self.reason = EndReason(Cause.NO_ROOM, error=why)
        self.claim = Claim.GIVEN_BACK
        self.link.send({"m": "refused"})

    def stop(self, why: str, grace_s: float, reason: EndReason, now: float) -> None:
        """Ask the workflow to stop; after the grace the guard kills it, and a second later main kills both."""
        if self.reason is None and not self._finishing:
            self.reason = reason
            self.kill_at = now + grace_s + OVERDUE_S
            self.link.send({"m": "stop", "why": why, "grace_s": grace_s})

    def kill(self, reason: EndReason, now: float) -> None:
        """Have the guard kill the workflow; main kills both when that has not happened within a second."""
        if not self._finishing and (self.kill_at is None or self.kill_at > now + OVERDUE_S):
            self.reason = self.reason or reason
            self.kill_at = now + OVERDUE_S
            self.link.send({"m": "kill", "why": reason.cause})

    def check(self, now: float) -> None:
        """Kill the guard if it is silent, or has not done what it was told."""
        self._now = now
        if self.gone_at is not None:
            return
        if now - self.heard_at > (LOOKING_S if self._looks else BEGIN_S):
            self._kill_guard_for(SILENT if self._looks else STUCK)
        elif self.claim is Claim.ACCEPTED and not self._finishing and self._deadline.overdue():
            self._kill_guard_for(DEADLINE)
        elif not self._finishing and self._is_overtime(now):
            self._kill_guard_for(OVERTIME)
        elif self.kill_at is not None and now > self.kill_at:
            self.kill_guard()

    def kill_guard(self) -> None:
        """Send SIGKILL to the guard; what it leaves behind falls to main."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def guard_is_dead(self, within_s: float) -> bool:
        """Kill the guard, and wait a moment for its death: only then its processes have fallen to main."""
        self.kill_guard()
        return self._pidfd is None or bool(select.select([self._pidfd], [], [], within_s)[0])

    def close(self) -> None:
        """Close the line and the pidfds."""
        self.link.close()
        for pidfd in (self._pidfd, self._slot_pidfd):
            if pidfd is not None:
                os.close(pidfd)
        self._pidfd = self._slot_pidfd = None

    def _note(self, kind: str, message: Message, now: float) -> None:
        """Note how far the guard is."""
        if kind == "alone":
            self.alone = True
        elif kind == "looking":
            self._looks = True
        elif kind == "saving":
            self._work_time.save(message["begins"], now)
        elif kind == "done":
            self._timeout_s = None

    def _report(self, fields: Message, now: float) -> Report | None:
        report = from_plain(Report, {"worker": "", "incarnation": 0, **fields})
        if report.kind == "end":
            self.end = report
            self.kill_at = now + FINISH_S if self.alone else self.kill_at
            return None
        return report

    @property
    def _finishing(self) -> bool:
        """True when no process of the attempt is left and its end is known; its guard only closes its log."""
        return self.end is not None and self.alone

    @property
    def _guards_own(self) -> bool:
        """True when no end was said, or one that blames guard or slot: not the workflow's, not one that was ordered."""
        return self.end is None or self.end.cause in (Cause.GUARD, Cause.SLOT)

    def _is_overtime(self, now: float) -> bool:
        """True when its guard should have killed it for its time limit by now."""
        worked_s = self._work_time.worked_s(now)
        if self._timeout_s is None or worked_s is None or self._work_time.saving:
            return False
        return worked_s > self._timeout_s + OVERDUE_S

    def _kill_guard_for(self, reason: EndReason) -> None:
        self.reason = self.reason or reason
        self.kill_guard()

    def _answer(self, lease: Lease, over: bool, now: float) -> None:
        if over:
            self.refuse()
        elif lease.state is LeaseState.CLAIMED and lease.nonce == self.nonce:
            self.claim = Claim.ACCEPTED
            self._work_time.begin(now)
            self.link.send({"m": "claimed"})
        elif lease.state is LeaseState.CLAIMED:
            self.refuse()  # another delivery of this attempt has it

    def _end_for(self, lease: Lease, now: float) -> None:
        if lease.attempt == self.attempt and lease.why == Revocation.CANCEL:
            self.stop("cancel", lease.grace_s, CANCELLED, now)
        else:
            self.kill(LOST, now)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
