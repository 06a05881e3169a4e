"""The workflow's process, as its guard sees it: a fork (workflow_fork.py) with a socket pair.

It is started while the claim is still under way and waits for its first line (agent/ipc/start.py): until that is
sent, nothing of the workflow runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from agent.attempt.workflow_fork import fork
from agent.ipc.channel import SlotSetup
from agent.ipc.link import Link, Message
from agent.ipc.start import Start, StartFrom
from agent.processes import ATTEMPT_VARIABLE, JOB_VARIABLE
from agent.runners.command import INDICES_VARIABLE
from app.pool.codec import plain
from app.pool.log.portion import Stream
from app.pool.model import Workflow
from app.pool.protocol import Order
from app.pool.settings import CHECKPOINTS, folder_of_attempt

PIPE_BYTES = 256 * 1024  # also read at once: a workflow that floods may not keep the guard from its clocks


@dataclass(frozen=True)
class Folders:
    """Where one attempt writes, and where the files of the checkpoint lie from which it resumes."""

    output: Path
    checkpoints: Path
    resume: Path | None

    @classmethod
    def of(cls, order: Order, output_folder: str) -> Folders:
        root, resume = Path(output_folder), order.resume
        output = folder_of_attempt(root, order.job, order.attempt)
        resumed = (
            folder_of_attempt(root, order.job, resume.attempt) / CHECKPOINTS / str(resume.number) if resume else None
        )
        return cls(output, output / CHECKPOINTS, resumed)

    def make(self) -> None:
        """Make the attempt's folders. Raises OSError, also when the folder of all outputs is missing: not mounted."""
        self.output.parent.mkdir(exist_ok=True)
        self.checkpoints.mkdir(parents=True, exist_ok=True)


class WorkflowProcess:
    """The process, the line to it, and the pipes of its standard output and error."""

    def __init__(self, order: Order, setup: SlotSetup, folders: Folders) -> None:
        ours, theirs = socket.socketpair()
        output, error = OutputPipe(), OutputPipe()
        try:
            keep = (setup.deadline_fd, setup.lock_fd)
            pipes = (output.writing, error.writing)
            workflow = setup.workflow(order.workflow)
            named = {**environment(order), **_cards(order, setup, workflow)}
            self.pid = fork(theirs.fileno(), pipes, keep, folders.output, named, workflow.python if workflow else "")
        finally:
            theirs.close()
            os.close(output.writing)
            os.close(error.writing)
        self.link = Link(ours)
        self.outputs: dict[Stream, OutputPipe] = {"o": output, "e": error}
        self.pidfd = os.pidfd_open(self.pid)
        self._status: int | None = None

    def ask(self, why: str) -> None:
        """Ask the workflow to save its state and stop; it may ignore that. `why`: "checkpoint" or "cancel"."""
        self.link.send({"stopping": why})
        if self.ended() is None:
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)

    def show_stacks(self) -> None:
        """Have the process write the stacks of all its threads; they become log lines."""
        if self.ended() is None:
            signal.pidfd_send_signal(self.pidfd, signal.SIGUSR1)

    def sources(self) -> list[Link | int]:
        """The descriptors to wait on, but for the outputs; one at its end is left out, since it is always readable."""
        return [self.pidfd] if self.link.gone else [self.pidfd, self.link]

    def ended(self) -> int | None:
        """The exit code, or the negative number of the signal that killed it; None while it lives."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status


class OutputPipe:
    """A pipe that the workflow's process and what it starts write to; the guard's end of it never waits."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        with contextlib.suppress(OSError):  # more than this user may have: then it is smaller
            fcntl.fcntl(self._reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.gone = False  # nobody writes any more

    def fileno(self) -> int:
        return self._reading

    def read(self) -> bytes:
        """What is there, up to PIPE_BYTES; b"" when nothing is."""
        try:
            chunk = os.read(self._reading, PIPE_BYTES)
        except BlockingIOError:
            return b""
        self.gone = not chunk
        return chunk


def first_line(order: Order, workflow: Workflow, folders: Folders, deadline_fd: int) -> Message:
    """What the workflow's process waits for: a Start as a message."""
    checkpoint, resume = order.resume, None
    if checkpoint:
        resume = StartFrom(checkpoint.number, checkpoint.state, str(folders.resume), checkpoint.files)
    start: Message = plain(
        Start(
            job=order.job,
            attempt=order.attempt,
            workflow=order.workflow,
            runner=workflow,
            output_dir=str(folders.output),
            checkpoint_dir=str(folders.checkpoints),
            params=order.params,
            resume=resume,
            gpus=order.gpus,
            deadline_fd=deadline_fd,
            strict=order.strict,
            max_orphan_s=order.max_orphan_s,
        )
    )
    return start


def environment(order: Order) -> dict[str, str]:
    """The variables that an attempt's processes have beside their slot's environment."""
    return {
        # What Python prints comes at once, on every agent alike: else its log, and all signs of life, come at the end.
        "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1"),
        JOB_VARIABLE: order.job,
        ATTEMPT_VARIABLE: str(order.attempt),
    }


def _cards(order: Order, setup: SlotSetup, workflow: Workflow | None) -> dict[str, str]:
    """The variables that say which cards the attempt may use, by UUID or, for programs that know none, by index."""
    indices = ",".join(str(gpu.index) for uuid in order.gpus for gpu in setup.gpus if gpu.uuid == uuid)
    if workflow is None or workflow.gpu_ids == "uuid":
        return {"CUDA_VISIBLE_DEVICES": ",".join(order.gpus), INDICES_VARIABLE: indices}
    # NVML counts by bus; CUDA, unless it is told to do so too, by speed.
    return {"CUDA_VISIBLE_DEVICES": indices, INDICES_VARIABLE: indices, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
