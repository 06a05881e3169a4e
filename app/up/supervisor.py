"""Keeps programs running: one that ends is started again after a back-off; their output is shown and kept.

One thread does it all, because a child ends with the thread that started it, and because signals then come between
two steps and never inside one.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from logging import Formatter, LogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NoReturn

from app.pool.backoff import Backoff
from app.pool.errors import PoolError
from app.pool.status import ended_words
from app.pool.text import LineBuffer
from app.up.processes import Process, Program, kill_group, start

OURS = "up"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BACKOFF = Backoff(0.5, 30.0)
SETTLED_S = 60.0  # a program that lived this long begins with the first back-off again
LOG_BYTES = 10_000_000  # of one file; the one before is kept
LINE_BYTES = 65536


class StopRequested(BaseException):
    """A signal asks us to end. No Exception, so that no handler takes it for a failure."""


@dataclass
class SupervisedProgram:
    """A program and its present life."""

    program: Program
    shown: bool  # on the terminal; its log has it anyway
    log: RotatingFileHandler
    process: Process | None = None
    pipe: int = -1
    lines: LineBuffer = field(default_factory=lambda: LineBuffer(LINE_BYTES))
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    last_line: str = ""


class Supervisor:
    """Starts, watches and stops programs. All calls come from the main thread."""

    def __init__(self, logs: Path, restart: bool) -> None:
        logs.mkdir(mode=0o700, exist_ok=True)
        self._logs = logs
        self._restart = restart
        self._children: dict[str, SupervisedProgram] = {}
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._log = _log_file(logs / f"{OURS}.log")
        self._signals = _signal_pipe()
        self._selector.register(self._signals, selectors.EVENT_READ, self._signalled)

    def start(self, program: Program, *, shown: bool = True) -> None:
        """Run the program from now on."""
        child = SupervisedProgram(program, shown, _log_file(self._logs / f"{program.name}.log"))
        self._children[program.name] = child
        self._start(child)

    def wait(self, condition: Callable[[], bool], within_s: float, every_s: float = 0.1) -> bool:
        """Keep all running until the condition holds; False when it does not in time. Raises StopRequested."""
        end = time.monotonic() + within_s
        while not condition():
            if time.monotonic() >= end:
                return False
            # Output of the children wakes us too, and asking for the condition may make them write some.
            next_look = time.monotonic() + every_s
            while (left_s := next_look - time.monotonic()) > 0:
                self._step(left_s)
        return True

    def run(self) -> NoReturn:
        """Keep all running until a signal comes. Raises StopRequested."""
        while True:
            self._step(BACKOFF.most_s)

    def expect(self, name: str) -> None:
        """Raise PoolError when the program of this name has ended."""
        child = self._children[name]
        if child.process is None:
            raise PoolError(f"{name} ended at its start: see {self._logs / name}.log")

    def refusal(self, name: str) -> str | None:
        """The last line of a program that ended soon after each of its last two starts; None for any other."""
        child = self._children[name]
        return child.last_line if child.process is None and child.failures > 1 else None

    def stop(self, names: Collection[str], until: float) -> None:
        """Ask these programs to end and wait until time.monotonic() is `until`; then kill what is left."""
        self._stopping = True
        children = [self._children[name] for name in names if name in self._children]
        for child in children:
            if child.process is not None:
                child.process.send_signal(child.program.stop_signal)
        self.wait(lambda: all(child.process is None for child in children), until - time.monotonic(), 0.01)
        for child in children:
            if child.process is not None:
                self.say(f"{child.program.name} did not end in time and is killed")
                kill_group(child.process)
                child.process.wait()
        self._bury()

    def close(self) -> None:
        """Close the logs."""
        for log in (self._log, *(child.log for child in self._children.values())):
            log.close()

    def say(self, line: str) -> None:
        """Write a line of the supervisor's own."""
        _write(OURS, self._log, line, shown=True)

    def _step(self, at_most_s: float) -> None:
        for key, _ in self._selector.select(min(at_most_s, self._next_start_s())):
            key.data()
        self._bury()
        for child in self._children.values():
            if child.process is None and self._restarts() and time.monotonic() >= child.start_at:
                self._start(child)

    def _restarts(self) -> bool:
        return self._restart and not self._stopping

    def _next_start_s(self) -> float:
        due = [child.start_at for child in self._children.values() if child.process is None] if self._restarts() else []
        return max(0.0, min(due) - time.monotonic()) if due else BACKOFF.most_s

    def _signalled(self) -> None:
        came = os.read(self._signals, 4096)
        if not self._stopping and any(number in STOP_SIGNALS for number in came):
            self._stopping = True
            raise StopRequested

    def _start(self, child: SupervisedProgram) -> None:
        child.pipe, theirs = os.pipe()
        os.set_blocking(child.pipe, False)
        try:
            child.process = start(child.program, theirs)
        finally:
            os.close(theirs)
        child.started_at = time.monotonic()
        self._selector.register(child.pipe, selectors.EVENT_READ, lambda: self._read(child))

    def _read(self, child: SupervisedProgram) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(child.pipe, LINE_BYTES):
                self._pass_on(child, child.lines.feed(chunk))
            # The end of the pipe: all who wrote into it have closed it.
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.pipe)

    def _pass_on(self, child: SupervisedProgram, lines: list[bytes]) -> None:
        for line in lines:
            child.last_line = line.decode(errors="replace").rstrip()
            _write(child.program.name, child.log, child.last_line, shown=child.shown)

    def _bury(self) -> None:
        for child in self._children.values():
            if child.process is not None and (status := child.process.poll()) is not None:
                kill_group(child.process)  # what it left behind must not hold its port
                self._close(child)
                child.process = None
                self._schedule(child, status)

    def _close(self, child: SupervisedProgram) -> None:
        self._read(child)  # its last words
        self._pass_on(child, child.lines.rest())
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.pipe)
        os.close(child.pipe)

    def _schedule(self, child: SupervisedProgram, status: int) -> None:
        if self._stopping:
            return
        lived_s = time.monotonic() - child.started_at
        child.failures = 0 if lived_s >= SETTLED_S else child.failures + 1
        wait_s = BACKOFF.after(child.failures + 1)
        child.start_at = time.monotonic() + wait_s
        then = f"it starts again in {wait_s:.1f} s" if self._restart else "it is not started again"
        self.say(f"{child.program.name} ended ({ended_words(status)}); {then}")


def _signal_pipe() -> int:
    """The reading end of a pipe into which each signal writes its number."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    os.set_blocking(theirs, False)
    signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda *_: None)
    return ours


def _log_file(path: Path) -> RotatingFileHandler:
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, delay=True)
    handler.setFormatter(Formatter("%(asctime)s %(message)s"))
    return handler


def _write(name: str, log: RotatingFileHandler, line: str, *, shown: bool) -> None:
    log.emit(LogRecord(name, 0, "", 0, line, None, None))
    if shown:
        with contextlib.suppress(OSError):  # the terminal is gone; SIGHUP is on its way
            print(f"{name:<12}| {line}", flush=True)
