"""The table of the attempts on this worker: what the beat lists, and what main does about each of them.

An attempt enters it before its claim is sent and leaves it when its lease says ended or revoked and its last
process is gone. Four orders are kept here, and what one job does twice at a time hangs on them:

- A claim goes out only when no process of an older attempt of that job lives on this worker.
- The end goes out only when no process of the attempt is left: the coordinator may start the next one at once.
- An attempt whose card others have filled does not claim; its end says so, so that it goes back at once.
- Of two deliveries of one attempt the first is kept and the second refused, whichever of them main hears of first.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from agent.attempt.ending import SLOT, EndReason, died, killed_by, oom_killed
from agent.attempt.handle import GUARD_DIED, STOPPED, AttemptHandle, Claim, SlotRef
from agent.attempt.orphans import remains_of
from agent.attempt.outbox import Outbox
from agent.gpus.promise import Kept, Meter
from agent.ipc.deadline import Deadline
from agent.ipc.link import Link, Message
from agent.log.spool import Portion
from agent.log.uploader import Uploader
from agent.processes import kill_all, oom_kills
from agent.tags import Tags
from app.pool import faults
from app.pool.model import JobId, WorkerId
from app.pool.protocol import AttemptRef, Lease, Report

log = logging.getLogger(__name__)

STATUS_S = 1.0  # how long a slot may take to say how its guard ended
BURY_S = 0.2  # how long one look at what is left may hold main up; it looks again


class Attempts:
    """The attempts by their handles. All calls come from main's main thread; `refs` also from the bell's.

    `changed` is set when the beat is to tell of it soon.
    """

    def __init__(
        self,
        worker: WorkerId,
        incarnation: int,
        outbox: Outbox,
        uploader: Uploader,
        deadline_fd: int,
        own: Callable[[], set[int]],
        meter: Meter,
    ) -> None:
        self._worker = worker
        self._incarnation = incarnation
        self._outbox = outbox
        self._uploader = uploader
        self._deadline_fd = deadline_fd
        self._tags = Tags()
        self._own = own  # main's own children: beat and slots
        self._meter = meter
        self._left: dict[str, float] = {}  # by card, when the last attempt that ran there was buried
        self._table: list[AttemptHandle] = []
        self._refused: list[AttemptHandle] = []  # second deliveries; they only wait for their guards to go
        self._leaving = False
        self.changed = False

    def refs(self) -> list[AttemptRef]:
        """The attempts as the beat lists them."""
        return [handle.ref for handle in self._table]

    def guards(self) -> dict[AttemptRef, int]:
        """The pid of each attempt's guard; all processes of the attempt are below it."""
        return {handle.ref: handle.pid for handle in self._table if handle.gone_at is None}

    def tags(self) -> list[str]:
        """The worker's dynamic tags."""
        return self._tags.listed()

    def busy(self, slot: int) -> bool:
        """True while a process of an attempt of this slot is left."""
        return any(handle.slot == slot and not handle.buried for handle in [*self._table, *self._refused])

    @property
    def empty(self) -> bool:
        """True when no process of any attempt is left."""
        return all(handle.buried for handle in self._table) and not self._refused

    def introduced(self, introduction: Message, slot: SlotRef, link: Link, now: float) -> AttemptHandle:
        """Take in an attempt whose guard has begun, or refuse it."""
        deadline = Deadline(self._deadline_fd, introduction["strict"], introduction["max_orphan_s"])
        handle = AttemptHandle(introduction, slot, deadline, link, now)
        # At least once: an envelope may be delivered twice. While the first one is here the second has no right.
        if any(other.job == handle.job and other.attempt >= handle.attempt for other in self._table):
            handle.refuse()
            self._refused.append(handle)
        else:
            self._table.append(handle)
            self.changed = True
        return handle

    def heard(self, handle: AttemptHandle, now: float) -> None:
        """Read what the attempt's guard said; it may also be gone."""
        for report in handle.hear(now, self):
            self._report(report)

    def tag(self, tag: str, has: bool) -> None:
        """Change the worker's tags by what a workflow says."""
        self.changed = self._tags.change(tag, has) or self.changed

    def portion(self, portion: Portion) -> None:
        """Have a portion of a log sent."""
        self._uploader.put(portion)

    def horse_ended(self, pid: int, status: int) -> None:
        """Note how a guard ended, as its slot says: `status` as of wait(2)."""
        for handle in self._table:
            if handle.pid == pid and handle.status is None:
                handle.status = status

    def slot_died(self, slot: int, code: int, now: float) -> None:
        """End the guard of a slot that died with this exit code; the kernel asks the guard to end as well."""
        for handle in self._table:
            if handle.slot == slot and not handle.buried:
                handle.slot_code = code
                handle.kill(SLOT, now)

    def obey(self, leases: Mapping[JobId, Lease], now: float) -> None:
        """Do what the leases say; a missing lease says nothing."""
        for handle in self._table:
            if handle.job in leases:
                handle.obey(leases[handle.job], now)

    def leave(self, grace_s: float, now: float) -> None:
        """Say good-bye: nothing starts from now on, and what runs is asked to save its state and stop."""
        self._leaving = True
        for handle in self._alive():
            if handle.claim in (Claim.NONE, Claim.HELD):
                handle.refuse()
            else:
                handle.stop("checkpoint", grace_s, STOPPED, now)

    def kill(self, reason: EndReason, now: float) -> None:
        """Kill every attempt now."""
        for handle in self._alive():
            handle.kill(reason, now)

    def step(self, now: float, blind_s: float) -> None:
        """Send the claims that may go out, kill what must be, bury what has ended.

        `blind_s`: for how long main itself stood still; nobody else was silent in that time.
        """
        for handle in [*self._table, *self._refused]:
            handle.heard_at += blind_s
            handle.link.flush()
            handle.check(now)
        for handle in self._table:
            self._release_claim(handle, now)
            self._bury(handle, now)
        self._forget()

    def _alive(self) -> Iterator[AttemptHandle]:
        return (handle for handle in self._table if handle.gone_at is None)

    def _release_claim(self, handle: AttemptHandle, now: float) -> None:
        if handle.claim is not Claim.HELD or handle.gone_at is not None:
            return
        if self._leaving or handle.settled:
            handle.refuse()
        elif not self._older_lives(handle):
            self._claim_or_give_back(handle, now)

    def _claim_or_give_back(self, handle: AttemptHandle, now: float) -> None:
        """Claim, if its cards still have what was promised of them."""
        beside = [other.promise for other in self._table if other is not handle and other.may_hold_cards]
        left_at = max((self._left[gpu] for gpu in handle.promise.gpus if gpu in self._left), default=None)
        found = handle.check_promise.step(self._meter, beside, left_at, now)
        if found is Kept.YES:
            faults.point("main.before_claim")
            handle.claim = Claim.SENT
            self._report(Report("claim", self._worker, 0, handle.job, handle.attempt, nonce=handle.nonce))
        elif isinstance(found, str):
            handle.give_back(found)

    def _older_lives(self, handle: AttemptHandle) -> bool:
        older = (other for other in self._table if other.job == handle.job and other.attempt < handle.attempt)
        return any(not other.buried for other in older)

    def _bury(self, handle: AttemptHandle, now: float) -> None:
        """Kill what the guard has left behind, and only then report the end."""
        if handle.gone_at is None or handle.buried:
            return
        if not handle.alone and not self._killed(handle):
            return
        if handle.unexplained and now < handle.gone_at + STATUS_S:
            return  # the slot will say how the guard ended, or be found dead
        handle.buried = True
        self.changed = True
        if handle.claim is Claim.ACCEPTED:
            self._left.update(dict.fromkeys(handle.promise.gpus, now))
        self._uploader.over(handle.job, handle.attempt)
        self._say_end(handle)

    def _killed(self, handle: AttemptHandle) -> bool:
        """Kill the guard, which has nothing more to say, and all that it leaves. True when none of it lives."""
        if not handle.guard_is_dead(BURY_S):
            return False
        left = kill_all(lambda: remains_of(handle, self._spared()), BURY_S)
        if left:
            log.warning("cannot be killed yet: worker=%s job=%s pids=%s", self._worker, handle.job, sorted(left))
        return not left

    def _say_end(self, handle: AttemptHandle) -> None:
        if handle.claim not in (Claim.SENT, Claim.ACCEPTED, Claim.GIVEN_BACK):
            handle.settled = True  # its claim was not sent: in the ledger there is nothing to end
            return
        faults.point("main.before_end")
        if handle.fell_with_slot:
            self._report(self._end_of(handle, SLOT, handle.slot_code))
        elif handle.end is not None:
            self._report(handle.end)
        else:
            status = None if handle.claim is Claim.GIVEN_BACK else handle.status
            code = None if status is None else os.waitstatus_to_exitcode(status)
            self._report(self._end_of(handle, handle.reason or GUARD_DIED, code))

    def _end_of(self, handle: AttemptHandle, reason: EndReason, code: int | None) -> Report:
        """The end of an attempt whose guard could not say it, or said it wrongly; `code`: of what died."""
        log.warning("%s: worker=%s job=%s attempt=%d", reason.error, self._worker, handle.job, handle.attempt)
        killed, exit_code = died(code)
        starved, unasked = oom_kills() > handle.oom_kills, reason in (GUARD_DIED, SLOT)
        how = f", {killed_by(killed, starved)}" if killed and unasked else ""
        return Report(
            "end",
            self._worker,
            self._incarnation,
            handle.job,
            handle.attempt,
            end=reason.end,
            cause=reason.cause,
            error=f"{reason.error}{how}",
            signal=killed,
            exit_code=exit_code,
            oom_killed=unasked and oom_killed(killed, starved),
        )

    def _forget(self) -> None:
        for handle in [handle for handle in self._table if handle.buried and handle.settled]:
            handle.close()
            self._table.remove(handle)
            self._outbox.forget(handle.job, handle.attempt)
            self.changed = True
        for handle in [handle for handle in self._refused if handle.gone_at is not None]:
            handle.close()
            self._refused.remove(handle)

    def _report(self, report: Report) -> None:
        self._outbox.put(replace(report, worker=self._worker, incarnation=self._incarnation))

    def _spared(self) -> set[int]:
        """Children of main that no dead guard left behind: its own, and the guards of dead slots."""
        return self._own() | {handle.pid for handle in [*self._table, *self._refused] if handle.gone_at is None}
