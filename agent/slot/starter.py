"""The slot starter: slot processes are started, listened to, and started again with back-off when they die.

The pool may say how many there are; else the agent's own setting does. A slot too many ends when what it runs has
ended. The next process of a slot starts only when nothing of the last one's attempt is left, and a slot counts in the
beat only once it has been ready: a job that is sent to a slot that still starts would wait while another's stands idle.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent import ROOT
from agent.ipc.channel import SlotSetup, receive_datagram
from agent.ipc.link import Message
from agent.processes import WORKER_VARIABLE
from app.pool.backoff import Backoff
from app.pool.codec import to_json
from app.pool.model import WorkerId
from app.pool.settings import without_secrets
from app.pool.status import ended_words

log = logging.getLogger(__name__)

BACKOFF = Backoff(0.2, 30.0)
LONG_LIFE_S = 60.0  # after which a death counts as a first one again
AT_ONCE = os.cpu_count() or 1  # starts at a time: more that import together would starve the beat
START_S = 10.0  # after which a start does not keep others from starting


@dataclass
class SlotProcess:
    """One slot: its process, or the moment of its next start."""

    setup: SlotSetup
    process: subprocess.Popen[bytes] | None = None
    channel: socket.socket | None = None
    up: bool = False  # it has been ready once
    ready: bool = False  # it waits for an envelope
    started_at: float = 0.0
    start_at: float = 0.0
    deaths: int = 0
    exit_code: int = 0  # of its last process
    surplus: bool = False  # it takes nothing more, and is not started again

    @property
    def number(self) -> int:
        return self.setup.slot


class SlotProcesses:
    """All calls come from main's main thread: a slot process ends with the thread that started it."""

    def __init__(self, setup: SlotSetup, slots: int) -> None:
        self._setup = setup
        self._own = slots
        self._slots: list[SlotProcess] = []
        self._starts: dict[int, int] = {}  # of slots that went, by number: RQ's names are not used twice
        self._leaving = False
        self.want(None, lambda _: False)

    def want(self, slots: int | None, busy: Callable[[int], bool]) -> None:
        """Have this many slots from now on, None for the agent's own number; idle ones go first.

        `busy(number)` is true while something of that slot's attempt is left.
        """
        lasting = self._lasting()
        more = (self._own if slots is None else slots) - len(lasting)
        for _ in range(more):
            self._add()
        idle_first = sorted(lasting, key=lambda slot: (busy(slot.number), not slot.ready, -slot.number))
        for slot in idle_first[: max(0, -more)]:
            self._dismiss(slot)

    @property
    def count(self) -> int:
        """The number of slots that can run jobs, busy ones too; not those that start or are to end."""
        return sum(slot.process is not None and slot.up for slot in self._lasting())

    def pids(self) -> set[int]:
        """The pids of the slot processes that run."""
        return {slot.process.pid for slot in self._slots if slot.process}

    def free(self, busy: Callable[[int], bool]) -> int:
        """How many slots could begin an attempt now."""
        return 0 if self._leaving else sum(slot.ready and not busy(slot.number) for slot in self._lasting())

    def start_due(self, busy: Callable[[int], bool], now: float) -> list[SlotProcess]:
        """Start the slots whose time has come, at most one a processor at once. Returns those that were started."""
        if self._leaving:
            return []
        lasting = self._lasting()
        due = [slot for slot in lasting if not slot.process and now >= slot.start_at and not busy(slot.number)]
        starting = sum(slot.process is not None and not slot.up and now - slot.started_at < START_S for slot in lasting)
        return [slot for slot in due[: max(0, AT_ONCE - starting)] if self._start(slot, now)]

    def hear(self, slot: SlotProcess, now: float) -> tuple[Message, list[int]] | None:
        """Read one message of a slot, with the descriptors that came along; None when the slot has died."""
        assert slot.channel is not None
        try:
            message = receive_datagram(slot.channel)
        except ConnectionError:
            message = None
        if message is None:
            self._bury(slot, now)
        elif message[0]["m"] in ("ready", "guard"):
            slot.ready = message[0]["m"] == "ready"
            slot.up = True
        return message

    def leave(self) -> None:
        """Ask every slot to take nothing new, and to end when what it runs has ended."""
        self._leaving = True
        for slot in self._slots:
            if slot.process:
                slot.process.send_signal(signal.SIGTERM)

    def stop(self, within_s: float) -> None:
        """Kill every slot that has not ended after `within_s` seconds."""
        end = time.monotonic() + within_s
        for slot in self._slots:
            if slot.process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    slot.process.wait(max(0.0, end - time.monotonic()))
                slot.process.kill()
                slot.process.wait()

    def _start(self, slot: SlotProcess, now: float) -> bool:
        slot.setup = replace(slot.setup, start=slot.setup.start + 1)
        slot.up, slot.started_at = False, now
        try:
            slot.process, slot.channel = start_slot(slot.setup)
        except OSError as error:  # no memory, processes or files left: what runs goes on
            log.warning("slot process not started: worker=%s slot=%d: %s", slot.setup.worker, slot.number, error)
            self._wait(slot, now)
            return False
        return True

    def _lasting(self) -> list[SlotProcess]:
        return [slot for slot in self._slots if not slot.surplus]

    def _add(self) -> None:
        number = next(free for free in itertools.count() if all(slot.number != free for slot in self._slots))
        self._slots.append(SlotProcess(replace(self._setup, slot=number, start=self._starts.get(number, 0))))

    def _dismiss(self, slot: SlotProcess) -> None:
        slot.surplus = True
        if slot.process:
            slot.process.send_signal(signal.SIGTERM)
        else:
            self._drop(slot)

    def _drop(self, slot: SlotProcess) -> None:
        self._starts[slot.number] = slot.setup.start
        self._slots.remove(slot)

    def _bury(self, slot: SlotProcess, now: float) -> None:
        assert slot.process is not None and slot.channel is not None
        slot.process.kill()  # its end of the channel is closed: it is dead, or was about to die
        slot.exit_code = code = slot.process.wait()
        slot.channel.close()
        slot.process, slot.channel, slot.ready = None, None, False
        self._wait(slot, now)
        if slot.surplus:
            self._drop(slot)
        elif not self._leaving:
            log.warning("slot process died, %s: worker=%s slot=%d", ended_words(code), slot.setup.worker, slot.number)

    @staticmethod
    def _wait(slot: SlotProcess, now: float) -> None:
        slot.deaths = 0 if now - slot.started_at > LONG_LIFE_S else slot.deaths + 1
        slot.start_at = now + (BACKOFF.after(slot.deaths) if slot.deaths else 0.0)


def start_slot(
    setup: SlotSetup, environment: Mapping[str, str] = os.environ
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a slot process. Returns it and main's end of its channel; in main's main thread only (PDEATHSIG).

    The setup goes to its standard input, because one part of it is a password. Raises OSError when the host has no
    memory, processes or files left.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.slot.process", str(theirs.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=(theirs.fileno(), setup.deadline_fd, setup.lock_fd),
            env=_slots_environment(environment, setup.worker),
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # it may have died: its waiter sees that
        pipe.write(to_json(setup).encode())
    return process, ours


def _slots_environment(agents: Mapping[str, str], worker: WorkerId) -> dict[str, str]:
    """The agent's environment with the worker's id, by which every process of a slot is found.

    Without secrets: what a slot was started with stands in /proc, there and for each workflow that it forks.
    """
    shown = without_secrets(agents)
    path = os.pathsep.join(filter(None, (str(ROOT), shown.get("PYTHONPATH"))))
    return {**shown, "PYTHONPATH": path, WORKER_VARIABLE: worker}
