"""The wire: the workflow process' end of its line to the guard, JSON lines both ways, and the signals that it gets.

No thread reads: every call of the context first looks for what the guard has said. What a workflow forks, such as the
processes of multiprocessing, has neither the line nor these signals.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from types import FrameType

from app.pool.errors import LeaseLost
from app.pool.model import Json

_CHUNK = 1 << 16


FORKED = (
    "a job is only for the process in which run() was called; let what that starts answer through a queue or a pipe"
)


class Wire:
    """The line to the guard. `stopping` is what the guard asked for last: "checkpoint", "cancel" or None.

    `send` may be called from any thread, everything else from one at a time.
    """

    def __init__(self, fd: int) -> None:
        # What this process starts must not hold the guard's socket open.
        os.set_inheritable(fd, False)
        self._socket = socket.socket(fileno=fd)
        self._sending = threading.Lock()  # a workflow may have threads
        self._received = b""
        self._forked = False
        self.stopping: str | None = None

    def fileno(self) -> int:
        return self._socket.fileno()

    def first(self) -> Json | None:
        """Wait for the guard's first line (a Start). None when the guard went away instead: nothing is to be run."""
        while b"\n" not in self._received:
            chunk = self._socket.recv(_CHUNK)
            if not chunk:
                return None
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def look(self) -> None:
        """Take in what the guard has said by now. Raises LeaseLost when it is gone, RuntimeError in a fork."""
        self._refuse_fork()
        while (chunk := self._chunk()) is not None:
            if not chunk:
                raise LeaseLost("the guard is gone")
            self._received += chunk
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            self.stopping = json.loads(line).get("stopping", self.stopping)

    def send(self, message: dict[str, Json]) -> None:
        """Tell the guard something, waiting while it does not read. Raises as `look`."""
        self._refuse_fork()
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            with self._sending:
                self._socket.sendall(line)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise LeaseLost("the guard is gone") from error

    def keep_from_forks(self) -> None:
        """Let each fork of this process let go of the line: two that write to it would garble each other's words."""
        os.register_at_fork(after_in_child=self._in_fork)

    def _in_fork(self) -> None:
        self._forked = True
        self._socket.close()

    def _refuse_fork(self) -> None:
        if self._forked:
            raise RuntimeError(FORKED)

    def _chunk(self) -> bytes | None:
        try:
            return self._socket.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None


class Signals:
    """The memory of SIGTERM (`terminated`); after `arm` it, and the end of a child, wake who selects on `fileno()`."""

    def __init__(self) -> None:
        self._mask = threading.local()  # of a thread that forks
        self._wake: int | None = None
        self.terminated = False
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def arm(self) -> None:
        """Begin to wake. Not where Python code of others runs: asyncio has a wakeup descriptor of its own."""
        self._wake, written = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _on_sigchld)
        if self.terminated:  # before there was a descriptor to say it
            os.write(written, b"\0")

    def fileno(self) -> int:
        assert self._wake is not None
        return self._wake

    def let_forks_die(self) -> None:
        """Have SIGTERM end each fork of this process, as it ends any other; multiprocessing ends its processes so.

        It is held back meanwhile: Python forgets what comes to a fork before its handlers can be changed.
        """
        os.register_at_fork(before=self._hold, after_in_parent=self._release, after_in_child=self._in_fork)

    def _hold(self) -> None:
        self._mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _release(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask.before)

    def _in_fork(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._release()

    def clear(self) -> None:
        """Forget that somebody was woken, before looking at what happened."""
        try:
            os.read(self.fileno(), _CHUNK)
        except BlockingIOError:
            return  # nobody was

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self.terminated = True  # a plain store; the byte in the pipe is written by the interpreter


def _on_sigchld(number: int, frame: FrameType | None) -> None:
    """Do nothing: without a handler the signal would not write the byte that wakes."""
