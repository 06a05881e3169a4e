"""The guard: RQ's work horse, and the parent of one attempt's workflow.

It claims through main, starts the workflow when the claim is accepted, passes on what it says, and kills all of it
on a deadline, a cancel, a lost lease, a timeout or the death of slot or main. It runs no code of the workflow and
needs no Redis. Nothing in its loop waits for anybody, nor for the disk: a thread writes its log (log/spooler.py).

The order of an attempt: the claim is sent first, and the workflow's process is forked while the answer is on its way;
it runs nothing before its first line, which is sent when the claim is accepted. At the end every process below the
guard is dead before the end is said, because the coordinator may start the next attempt as soon as it hears of it.
Main is told that nothing is left ("alone") before it is told the end, and then need not look for orphans. Last comes
the rest of the log. Main passes the end on when the guard has gone, and so after the log, unless the disk hangs.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import socket
import time

from agent.attempt.ending import CANCEL, DEADLINE, SLOT, EndReason, ending, failure, of_order
from agent.attempt.output import Output
from agent.attempt.reporter import Reporter
from agent.attempt.rules import apply_rules
from agent.attempt.work_time import WorkTime
from agent.attempt.workflow_process import Folders, WorkflowProcess, first_line
from agent.ipc.channel import SlotSetup, introduce
from agent.ipc.deadline import Deadline, Past
from agent.ipc.link import Link, Message
from agent.processes import become_subreaper, bury, descendants, oom_kills, reap
from app.pool import faults
from app.pool.loop import Bell
from app.pool.model import ORPHAN_KILL_S
from app.pool.protocol import Cause, Order

log = logging.getLogger(__name__)

LOOK_S = 0.2  # how often the clocks are looked at
LOOKING_S = 1.0  # how often main is told that they are
STACKS_S = 0.5  # for a workflow that hangs to show where
FAREWELL_S = 5.0  # for a workflow's process to be gone after it has said its end
MOST_UNSENT_BYTES = 16 * 1024 * 1024  # never reached: beyond UNSENT_BYTES the workflow is not read
UNSENT_BYTES = 256 * 1024  # that main may leave unread


def begin(setup: SlotSetup, channel: socket.socket, slot_pidfd: int, order: Order) -> Guard | None:
    """A guard that has claimed and has a process waiting; None when the order is not for this incarnation.

    Call it before RQ's own first calls to Redis, which take as long as the answer to the claim. Raises OSError when
    main is gone.
    """
    if (order.worker, order.incarnation) != (setup.worker, setup.incarnation):
        log.warning("order refused: worker=%s job=%s attempt=%d is not ours", order.worker, order.job, order.attempt)
        return None
    faults.point("guard.before_claim")
    main = Link(introduce(channel, order), MOST_UNSENT_BYTES)
    main.send({"m": "claim"})
    become_subreaper()
    guard = Guard(order, setup, main, slot_pidfd)
    guard.prepare()
    return guard


def run(guard: Guard) -> None:
    """Run the attempt to its end, in a forked work horse; when it returns RQ finishes the envelope."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, guard.signals.stop)
    try:
        guard.guard()
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP):  # RQ's own last words may be cut short
            signal.signal(number, signal.SIG_DFL)


class Guard:
    """One attempt, from a claim that is under way to its end."""

    def __init__(self, order: Order, setup: SlotSetup, main: Link, slot_pidfd: int) -> None:
        self.signals = Bell()
        self._order, self._setup, self._main, self._slot_pidfd = order, setup, main, slot_pidfd
        self._deadline = Deadline(setup.deadline_fd, order.strict, order.max_orphan_s)
        self._folders = Folders.of(order, setup.output_folder)
        self._workflow = workflow = setup.workflow(order.workflow)
        self._output = Output(order, setup.log_folder, main, workflow.fail_when if workflow else ())
        self._reporter = Reporter(order, main.send, self._output.log)
        self._oom_kills = oom_kills()
        self._child: WorkflowProcess | None = None
        self._began: float | None = None  # when the workflow was given its first line
        self._work_time = WorkTime()
        self._looking_at = 0.0
        self._kill_at: float | None = None
        self._why: EndReason | None = None  # it is stopped or killed
        self._refused = False
        self._over = False

    def prepare(self) -> None:
        """Make the folders, and a process that waits for its first line, while the claim is under way."""
        try:
            self._folders.make()
            self._child = WorkflowProcess(self._order, self._setup, self._folders)
            self._output.pipes = self._child.outputs
        except OSError as error:
            self._why = failure(Cause.GUARD, f"the attempt could not be prepared: {error}")

    def guard(self) -> None:
        """Run, leave no process behind, and only then send the end."""
        try:
            while not self._over:
                self._wait()
                self._step()
        finally:
            self._bury()
        if self._alone():
            self._main.send({"m": "alone"})
        if not self._refused:
            self._hear_child()  # what it said before it was killed
            self._output.finish()
            faults.point("guard.before_end")
            starved = oom_kills() > self._oom_kills
            end = ending(self._reporter, self._why, self._child.ended() if self._child else None, starved)
            end = self._output.watch.judged(end)
            self._reporter.end(apply_rules(end, self._workflow.rules if self._workflow else (), self._reporter))
            self._output.close()
            self._deliver()
        self._main.close()

    def _wait(self) -> None:
        """Wait until main or workflow says something, or a clock is to be looked at."""
        poll = select.poll()
        poll.register(self.signals, select.POLLIN)
        poll.register(self._main, select.POLLIN | (select.POLLOUT if self._main.unsent_bytes else 0))
        for source in (*self._output.sources(), *self._child.sources()) if self._child and self._main_reads() else ():
            poll.register(source, select.POLLIN)
        due_s = self._reporter.due_s()
        poll.poll(1000 * (LOOK_S if due_s is None else min(LOOK_S, due_s)))

    def _step(self) -> None:
        if self.signals.stopped:
            self._kill(SLOT if self._slot_died() else failure(Cause.GUARD, "its guard was told to end by a signal"))
        self._main.flush()
        for message in self._main.receive():
            self._obey(message)
        if self._main.gone:
            self._over = True  # nobody is left to tell why
        if self._main_reads():
            self._hear_child()
            self._hear_output()
        self._look()
        self._reporter.flush()
        if self._child and self._child.ended() is not None:
            self._over = True

    def _slot_died(self) -> bool:
        """True when the slot is dead, by its pidfd.

        PDEATHSIG comes when the slot's first thread ends, but the slot is our parent until its last one has ended.
        """
        return bool(select.select([self._slot_pidfd], [], [], LOOK_S)[0])

    def _obey(self, message: Message) -> None:
        match message.get("m"):
            case "claimed":
                self._begin()
            case "refused":
                self._refused = self._over = True
            case "stop":
                self._stop(of_order(message["why"]), message["why"], message["grace_s"])
            case "kill":
                self._kill(of_order(message["why"]))

    def _begin(self) -> None:
        """Let the workflow run, since the claim is accepted, unless the deadline has passed meanwhile."""
        faults.point("guard.claimed")
        if self._began is not None or self._over:
            return
        if self._workflow is None:
            self._kill(failure(Cause.WORKFLOW, f"this worker does not offer {self._order.workflow}"))
        elif self._child is None:
            self._over = True  # it could not be prepared
        elif self._deadline.past() is not Past.NOT:
            self._kill(DEADLINE)
        else:
            line = first_line(self._order, self._workflow, self._folders, self._setup.deadline_fd)
            self._child.link.send(line)
            self._began = self._reporter.heard_at = time.monotonic()
            self._work_time.begin(self._began)

    def _hear_child(self) -> None:
        if self._child is None:
            return
        try:
            self._child.link.flush()
            for message in self._child.link.receive():
                self._heard(message)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._kill(failure(Cause.WORKFLOW, f"its process said what cannot be read: {error!r}"))

    def _hear_output(self) -> None:
        if self._output.hear():
            self._reporter.heard_at = time.monotonic()
        if self._output.too_large and self._why is None:
            self._kill(failure(Cause.LOG, self._output.too_large))

    def _heard(self, message: Message) -> None:
        if "tag" in message:
            self._main.send({"m": "tag", "tag": message["tag"], "has": message["has"]})
            return
        self._reporter.heard(message)
        if "saving" in message:
            self._saves(message["saving"] is not None)
        ended = self._reporter.ended
        if ended and ended.end == "stopped" and self._why is None and self._deadline.past() is not Past.NOT:
            self._why = DEADLINE  # its context looks at the deadline too, and was the first to see it
        if ended:
            self._main.send({"m": "done"})  # from now on its timeout cannot pass
            self._kill_at = min(self._kill_at or math.inf, time.monotonic() + FAREWELL_S)

    def _saves(self, begins: bool) -> None:
        """Hold the limits while files are saved; main and the coordinator have limits too."""
        if begins is not self._work_time.saving:
            self._work_time.save(begins, time.monotonic())
            self._main.send({"m": "saving", "begins": begins})

    def _look(self) -> None:
        """Look at every clock, and tell main that they are looked at."""
        now = time.monotonic()
        if now >= self._looking_at and not self._main.unsent_bytes:
            self._main.send({"m": "looking"})
            self._looking_at = now + LOOKING_S
        past = self._deadline.past()
        if past is Past.KILL:
            self._kill(DEADLINE)
        elif past is Past.TERM and self._why is None:
            self._stop(DEADLINE, "checkpoint", ORPHAN_KILL_S)
        worked_s = self._work_time.worked_s(now)
        if worked_s is not None and not self._work_time.saving and self._reporter.ended is None:
            self._look_at_limits(worked_s, now - self._reporter.heard_at)
        if self._kill_at is not None and now >= self._kill_at:
            self._over = True
        reap({self._child.pid} if self._child else ())

    def _look_at_limits(self, ran_s: float, silent_s: float) -> None:
        timeout_s, stall_s = self._order.timeout_s, self._order.stall_s
        if timeout_s is not None and ran_s >= timeout_s:
            self._kill(failure(Cause.TIMEOUT, f"it ran longer than its timeout of {timeout_s} s"))
        elif stall_s is not None and silent_s >= stall_s and self._why is None:
            self._stalled(failure(Cause.STALL, f"it gave no sign of progress for {stall_s} s"))

    def _stalled(self, why: EndReason) -> None:
        """Kill the workflow, once it has shown in its log where it hangs. A command hangs where we cannot look."""
        if self._child is None or self._workflow is None or self._workflow.runner == "command":
            self._kill(why)
            return
        self._why = why
        self._kill_at = time.monotonic() + STACKS_S
        self._child.show_stacks()

    def _stop(self, why: EndReason, asked: str, grace_s: float) -> None:
        """Ask the workflow to end, and kill it after the grace. A cancel outdoes every other reason."""
        if self._began is None or self._child is None:
            self._kill(why)
            return
        self._why = why if self._why is None or why is CANCEL else self._why
        self._child.ask(asked)
        kill_at = time.monotonic() + grace_s
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)

    def _kill(self, why: EndReason) -> None:
        """End the loop; what follows the loop kills all that is left."""
        self._why = self._why if self._why in (CANCEL, SLOT) else why
        self._over = True

    def _bury(self) -> None:
        left = bury(self._below)
        if left:
            log.error("cannot be killed: job=%s attempt=%d pids=%s", self._order.job, self._order.attempt, sorted(left))

    def _alone(self) -> bool:
        """True when nothing is left below us, as the kernel says: an orphan there becomes our own child."""
        return (self._child is None or self._child.ended() is not None) and not reap()

    def _below(self) -> set[int]:
        """Our living descendants. Dead ones are waited for, but the workflow's exit code is kept."""
        spared = self._child is not None and self._child.ended() is None
        return descendants(os.getpid()) if reap({self._child.pid} if self._child and spared else ()) else set()

    def _deliver(self) -> None:
        """Wait until main has taken everything. Nothing of the attempt runs, so this may take long."""
        poll = select.poll()
        poll.register(self.signals, select.POLLIN)
        poll.register(self._main, select.POLLOUT)
        while self._main.unsent_bytes and not self._main.gone and not self.signals.stopped:
            poll.poll()
            self._main.flush()

    def _main_reads(self) -> bool:
        """False while main leaves too much unread; the workflow then waits in its calls, and nothing is lost."""
        return self._main.unsent_bytes < UNSENT_BYTES
