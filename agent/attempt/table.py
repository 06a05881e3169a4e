"""The table of the attempts on this worker: what the beat lists, and what main does about each.

An attempt enters it before its claim is sent and leaves it when its lease says ended or revoked and
its last process is gone. Its end goes out only when nothing of it is left.
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
from agent.ipc.deadline import Deadline
from agent.ipc.link import Link, Message
from agent.processes import kill_all, oom_kills
from agent.tags import Tags
from app.pool import faults
from app.pool.model import JobId, WorkerId
from app.pool.protocol import AttemptRef, Lease, Report

log = logging.getLogger(__name__)

STATUS_S = 1.0  # how long a slot may take to say how its guard ended
BURY_S = 0.2  # how long one look at what is left may hold main up; it looks again


class Attempts:
    """All calls come from main's main thread, but for `refs`, which the bell's thread reads too.

    `changed` says that the beat is to tell of it at once.
    """

    def __init__(
        self, worker: WorkerId, incarnation: int, outbox: Outbox, deadline_fd: int, own: Callable[[], set[int]]
    ) -> None:
        self._worker = worker
        self._incarnation = incarnation
        self._outbox = outbox
        self._deadline_fd = deadline_fd
        self._tags = Tags()
        self._own = own  # main's own children: beat and slots
        self._table: list[AttemptHandle] = []
        self._refused: list[AttemptHandle] = []  # second deliveries; they only wait for their guards to go
        self._leaving = False
        self.changed = False

    def refs(self) -> list[AttemptRef]:
        """What the beat lists."""
        return [each.ref for each in self._table]

    def guards(self) -> dict[AttemptRef, int]:
        """The pid of each attempt's guard, below which all of the attempt's processes are."""
        return {each.ref: each.pid for each in self._table if each.gone_at is None}

    def tags(self) -> list[str]:
        """The worker's dynamic tags."""
        return self._tags.listed()

    def busy(self, slot: int) -> bool:
        """Whether a process of an attempt of this slot is left."""
        return any(each.slot == slot and not each.buried for each in [*self._table, *self._refused])

    @property
    def empty(self) -> bool:
        """Whether no process of any attempt is left."""
        return all(each.buried for each in self._table) and not self._refused

    def introduced(self, said: Message, slot: SlotRef, link: Link, now: float) -> AttemptHandle:
        """A guard has begun."""
        deadline = Deadline(self._deadline_fd, said["strict"], said["max_orphan_s"])
        running = AttemptHandle(said, slot, deadline, link, now)
        # At least once: an envelope may be delivered twice. While the first one is here the second has no right.
        if any(each.ref.job == running.job and each.attempt >= running.attempt for each in self._table):
            running.refuse()
            self._refused.append(running)
        else:
            self._table.append(running)
            self.changed = True
        return running

    def heard(self, running: AttemptHandle, now: float) -> None:
        """Its guard said something, or is gone."""
        for report in running.hear(now, self._tag):
            self._report(report)

    def _tag(self, tag: str, has: bool) -> None:
        self.changed = self._tags.change(tag, has) or self.changed

    def horse_ended(self, pid: int, status: int) -> None:
        """A slot says how its guard ended."""
        for each in self._table:
            if each.pid == pid and each.status is None:
                each.status = status

    def slot_died(self, slot: int, code: int, now: float) -> None:
        """Its guard is to end too, and is asked to by the kernel as well."""
        for each in self._table:
            if each.slot == slot and not each.buried:
                each.slot_code = code
                each.kill(SLOT, now)

    def obey(self, leases: Mapping[JobId, Lease], now: float) -> None:
        """Do what the leases say; a missing one says nothing."""
        for each in self._table:
            if each.job in leases:
                each.obey(leases[each.job], now)

    def leave(self, grace_s: float, now: float) -> None:
        """The good-bye: nothing starts any more, what runs is asked to save its state and stop."""
        self._leaving = True
        for each in self._alive():
            if each.claim in (Claim.NONE, Claim.HELD):
                each.refuse()
            else:
                each.stop("checkpoint", grace_s, STOPPED, now)

    def kill(self, doom: EndReason, now: float) -> None:
        """Have everything killed now."""
        for each in self._alive():
            each.kill(doom, now)

    def step(self, now: float, blind_s: float) -> None:
        """Let go out what may, kill what must, bury what has ended. `blind_s`: main itself stood still so long."""
        for each in [*self._table, *self._refused]:
            each.heard_at += blind_s
            each.link.flush()
            each.check(now)
        for each in self._table:
            self._release_claim(each)
            self._bury(each, now)
        self._forget()

    def _alive(self) -> Iterator[AttemptHandle]:
        return (each for each in self._table if each.gone_at is None)

    def _release_claim(self, running: AttemptHandle) -> None:
        if running.claim is not Claim.HELD or running.gone_at is not None:
            return
        if self._leaving or running.settled:
            running.refuse()
        elif not self._older_lives(running):
            faults.point("main.before_claim")
            running.claim = Claim.SENT
            self._report(Report("claim", self._worker, 0, running.job, running.attempt, nonce=running.nonce))

    def _older_lives(self, running: AttemptHandle) -> bool:
        same = (each for each in self._table if each.job == running.job and each.attempt < running.attempt)
        return any(not each.buried for each in same)

    def _bury(self, running: AttemptHandle, now: float) -> None:
        """Kill what a guard has left behind, and only then report the end."""
        if running.gone_at is None or running.buried:
            return
        if not running.alone and not self._killed(running):
            return
        if running.unexplained and now < running.gone_at + STATUS_S:
            return  # the slot will say how the guard ended, or be found dead
        running.buried = True
        self.changed = True
        self._say_end(running)

    def _killed(self, running: AttemptHandle) -> bool:
        """Kill the guard, which has nothing more to say, and all that it leaves; whether none of it lives."""
        if not running.guard_is_dead(BURY_S):
            return False
        left = kill_all(lambda: remains_of(running, self._spared()), BURY_S)
        if left:
            log.warning("cannot be killed yet: worker=%s job=%s pids=%s", self._worker, running.job, sorted(left))
        return not left

    def _say_end(self, running: AttemptHandle) -> None:
        if running.claim not in (Claim.SENT, Claim.ACCEPTED):
            running.settled = True  # the ledger knows nothing of it that we could end
            return
        faults.point("main.before_end")
        if running.fell_with_slot:
            self._report(self._end_of(running, SLOT, running.slot_code))
        elif running.end is not None:
            self._report(running.end)
        else:
            code = None if running.status is None else os.waitstatus_to_exitcode(running.status)
            self._report(self._end_of(running, running.doom or GUARD_DIED, code))

    def _end_of(self, running: AttemptHandle, doom: EndReason, code: int | None) -> Report:
        """What is known of an attempt whose guard could not say its end, or not rightly; `code`: of what died."""
        log.warning("%s: worker=%s job=%s attempt=%d", doom.error, self._worker, running.job, running.attempt)
        killed, exit_code = died(code)
        starved, unasked = oom_kills() > running.oom_kills, doom in (GUARD_DIED, SLOT)
        how = f", {killed_by(killed, starved)}" if killed and unasked else ""
        return Report(
            "end",
            self._worker,
            self._incarnation,
            running.job,
            running.attempt,
            end=doom.end,
            cause=doom.cause,
            error="\n".join([f"{doom.error}{how}", *running.last]),
            signal=killed,
            exit_code=exit_code,
            oom_killed=unasked and oom_killed(killed, starved),
        )

    def _forget(self) -> None:
        for each in [each for each in self._table if each.buried and each.settled]:
            each.close()
            self._table.remove(each)
            self._outbox.forget(each.job, each.attempt)
            self.changed = True
        for each in [each for each in self._refused if each.gone_at is not None]:
            each.close()
            self._refused.remove(each)

    def _report(self, report: Report) -> None:
        self._outbox.put(replace(report, worker=self._worker, incarnation=self._incarnation))

    def _spared(self) -> set[int]:
        """Direct children of main that are not what a dead guard left behind."""
        return self._own() | {each.pid for each in [*self._table, *self._refused] if each.gone_at is None}
