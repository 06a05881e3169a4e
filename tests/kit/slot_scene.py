"""Real slot and guard processes on a real Redis, with the test in the place of the agent's main."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from redis import Redis
from rq import Queue
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer

from agent.ipc.channel import SlotSetup, receive_datagram
from agent.ipc.deadline import Deadline, DeadlineWriter, Past, make_deadline
from agent.log.spool import file_of, portions
from agent.processes import boottime_ns, carried_by, kill_all
from agent.slot.starter import start_slot
from app.pool import keys
from app.pool.codec import plain
from app.pool.log.portion import PortionHead, PortionLine, numbered
from app.pool.model import Gpu, JobId, Parameter, WorkerId, Workflow, new_id
from app.pool.policy import Clocks
from app.pool.protocol import Order
from tests.kit.processes import of_job

Message = dict[str, Any]
STEPS = (
    "quick",
    "marks",
    "broken",
    "shot",
    "stubborn",
    "polite",
    "saver",
    "talkative",
    "silent",
    "chatty",
    "hungry",
    "when",
    "cards",
)
PARAMETERS = (Parameter("seed", "int"), Parameter("mark"))


class GuardLine:
    """The line of one guard to main, and what it has spooled."""

    def __init__(self, introduction: Message, end: socket.socket, spool: Path) -> None:
        self._spool = spool
        self.pid: int = introduction["pid"]
        self.job, self.attempt, self.nonce = introduction["job"], introduction["attempt"], introduction["nonce"]
        self.reports: list[Message] = []
        self.socket = end
        self._partial = b""

    def tell(self, kind: str, **more: Any) -> None:
        self.socket.sendall(json.dumps({"m": kind, **more}).encode() + b"\n")

    def until(self, kind: str, seconds: float = 20) -> Message:
        """The guard's next message of this kind, `looking` or a kind of report."""
        end = time.monotonic() + seconds
        while (message := self._next(end)) is not None:
            if message["m"] == kind:
                return message
            if message["m"] == "report":
                self.reports.append(message["report"])
                if message["report"]["kind"] == kind:
                    return self.reports[-1]
        raise AssertionError(f"the guard went without {kind}; it reported {self.reports[-5:]}")

    def claimed(self) -> GuardLine:
        """Wait for the guard's claim and accept it."""
        self.until("claim")
        self.tell("claimed")
        return self

    def gone(self, seconds: float = 20) -> bool:
        """True when the line ends in time."""
        end = time.monotonic() + seconds
        while (message := self._next(end)) is not None:
            if message["m"] == "report":
                self.reports.append(message["report"])
        return True

    @property
    def portions(self) -> list[tuple[PortionHead, bytes]]:
        """The portions of its log, with their data."""
        return [
            (portion.head, file_of(self._spool, portion).read_bytes())
            for portion in portions(self._spool, JobId(self.job), self.attempt)
        ]

    @property
    def lines(self) -> list[PortionLine]:
        """The lines of its log."""
        return [line for _, data in self.portions for _, line in numbered(data)]

    @property
    def log(self) -> list[str]:
        """The text of its log, without states of lines that had not ended."""
        return [line.text for line in self.lines if not line.redraw]

    @property
    def end(self) -> Message | None:
        return next((report for report in self.reports if report["kind"] == "end"), None)

    def _next(self, deadline: float) -> Message | None:
        while b"\n" not in self._partial:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                chunk = self.socket.recv(1 << 16)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return None
            self._partial += chunk
        line, _, self._partial = self._partial.partition(b"\n")
        message: Message = json.loads(line)
        return message


class SlotScene:
    """A worker with one slot; a thread beats for it until `beating` is cleared."""

    def __init__(
        self,
        rq_url: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        workflows: Sequence[Workflow] = (),  # beside those of tests.steps
    ) -> None:
        self.workflows = workflows
        self.worker = WorkerId(new_id())
        self.folder = folder
        self.spool = folder / "logs"
        self.redis = Redis.from_url(rq_url)
        self.queue = Queue(keys.queue(self.worker), connection=self.redis, serializer=JSONSerializer)
        self.clocks = Clocks(interval_s=0.6, missed_beats=1)
        self.beating = threading.Event()
        self._url = rq_url
        self._starts = 0
        self._stack = ExitStack()
        self._deadline_fd = make_deadline()
        self._stack.callback(os.close, self._deadline_fd)
        self._lock_fd = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
        self._stack.callback(os.close, self._lock_fd)
        self._done = threading.Event()
        self._beat_thread = threading.Thread(target=self._beat, daemon=True)
        self.slot, self.channel = self.start(environment or {})

    def __enter__(self) -> SlotScene:
        self.beating.set()
        self._beat_thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._beat_thread.join()
        self.slot.kill()
        self.slot.wait()
        left = kill_all(self.processes)
        self.channel.close()
        self.redis.close()
        self._stack.close()
        assert not left, "processes that cannot be killed"

    def start(self, environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Start the slot (again)."""
        self._starts += 1
        workflows = tuple(
            Workflow(name, "python", target=f"tests.kit.steps:{name}", parameters=PARAMETERS) for name in STEPS
        )
        setup = SlotSetup(
            worker=self.worker,
            incarnation=1,
            slot=0,
            start=self._starts,
            main_pid=os.getpid(),
            deadline_fd=self._deadline_fd,
            lock_fd=self._lock_fd,
            rq_redis_url=self._url,
            output_folder=str(self.folder),
            log_folder=str(self.spool),
            workflows=(*workflows, *self.workflows),
            gpus=(Gpu("GPU-a", 0, "toy", 8000), Gpu("GPU-b", 2, "toy", 8000)),
        )
        return start_slot(setup, {**os.environ, **environment})

    def restart(self) -> None:
        """Start the slot anew; the last one has ended."""
        self.channel.close()
        self.slot, self.channel = self.start({})

    def order(self, workflow: str, **more: Any) -> Order:
        return Order(JobId(new_id()), 1, self.worker, 1, workflow, more.pop("params", {}), **more)

    def put(self, order: Order, **changes: Any) -> RqJob:
        """Put an envelope as dispatch does, or one that differs from it."""
        return self.put_into(self.queue, order, **changes)

    def put_into(self, queue: Queue, order: Order, **changes: Any) -> RqJob:
        """Put an envelope into another queue."""
        made = {
            "f": keys.FUNCTION,
            "kwargs": {"order": plain(order)},
            "job_id": keys.envelope_id(order.worker, order.job, order.attempt),
            "job_timeout": -1,
            "result_ttl": 300,
            "failure_ttl": 300,
        }
        return queue.enqueue(**{**made, **changes})

    def told(self, kind: str, seconds: float = 20) -> tuple[Message, list[int]]:
        """The next datagram of this kind on the slot's channel."""
        end = time.monotonic() + seconds
        while True:
            ready = select.select([self.channel], [], [], max(0.0, end - time.monotonic()))[0]
            assert ready, f"the slot did not say {kind}"
            message = receive_datagram(self.channel)
            assert message is not None, f"the slot went without {kind}"
            if message[0]["m"] == kind:
                return message

    def guard(self, seconds: float = 20) -> GuardLine:
        """The next guard that introduces itself."""
        message, (fd,) = self.told("guard", seconds)
        end = self._stack.enter_context(socket.socket(fileno=fd))
        return GuardLine(message, end, self.spool)

    def running(self, workflow: str, **more: Any) -> GuardLine:
        """A guard whose workflow has begun and said its first progress."""
        self.put(self.order(workflow, **more))
        line = self.guard().claimed()
        line.until("progress")
        return line

    def ended(self, workflow: str, seconds: float = 20, **more: Any) -> GuardLine:
        """The guard of an attempt that has ended."""
        self.put(self.order(workflow, **more))
        line = self.guard().claimed()
        assert line.gone(seconds) and line.end
        return line

    def processes(self, job: str | None = None) -> set[int]:
        """The processes that carry this worker, or one job of it."""
        mine = carried_by(worker=self.worker)
        return mine & of_job(job) if job else mine

    def past(self, strict: bool) -> bool:
        """True when an attempt's deadline has passed."""
        return Deadline(self._deadline_fd, strict, max_orphan_s=600).past() is not Past.NOT

    def _beat(self) -> None:
        writer = DeadlineWriter(self._deadline_fd)
        while not self._done.wait(0.05):
            if self.beating.is_set():
                writer.move_on(boottime_ns(), self.clocks, 600)
