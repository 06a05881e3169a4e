"""Agents of a test's own, on hosts of their own, in a pool that `up` started without any.

An agent runs as a supervisor would run it. Its processes can be found, frozen and killed by their part: main, beat,
sampler, slot, guard, workflow.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.processes import boottime_ns
from app.pool.model import WorkerId
from app.up.processes import Program, start
from tests.kit.hosts import Host
from tests.kit.processes import alive_with, children, send
from tests.kit.services import eventually
from tests.kit.whole_pool import ROOT, WholePool, clean

HEALTHY_S = 60  # of seven that start at once beside other tests
GONE_S = 10  # what waits for a device dies only when its call comes back
MODULES = {"beat": "agent.beat.process", "sampler": "agent.gpus.sampler", "slot": "agent.slot.process"}


@dataclass
class Agent:
    """One worker of the pool; `start` begins a life. Call it from the main thread, with which it ends."""

    pool: WholePool
    name: str
    host: Host | None = None  # None: this one, by its loopback
    environment: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()  # what its command is preceded by
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Agent:
        """Run it; it joins by itself. Its last life, if there was one, has ended."""
        if self.process is not None:
            self.process.wait(5)
        enter = self.host.enter if self.host else ()
        argv = (*enter, *self.before, sys.executable, "-m", "agent")
        with (self.pool.home / "log" / f"{self.name}.log").open("ab") as log:
            self.process = start(Program(self.name, argv, self._settings(), ROOT), log.fileno())
        return self

    @property
    def home(self) -> Path:
        return self.pool.home / "agents" / self.name

    @property
    def pid(self) -> int:
        """The process id of main."""
        assert self.process is not None
        return self.process.pid

    @property
    def said(self) -> str:
        """The log of all lives of the agent."""
        return (self.pool.home / "log" / f"{self.name}.log").read_text()

    def worker(self) -> dict[str, Any] | None:
        """The worker as the API shows it; None before the agent has joined."""
        found = self.pool.client.pages("/admin/workers", {"host": self.name})
        return next((each for each in found if each["name"] == self.name), None)

    @property
    def id(self) -> WorkerId:
        """The id of the worker. Fails before the agent has joined."""
        return WorkerId(self._joined()["id"])

    @property
    def incarnation(self) -> int:
        """The present incarnation of the worker. Fails before the agent has joined."""
        return int(self._joined()["incarnation"])

    def is_(self, status: str) -> bool:
        """True when people see the worker in this status."""
        worker = self.worker()
        return worker is not None and worker["status"] == status

    def is_healthy(self) -> bool:
        """True when the worker is healthy with all its slots in this life, not in an older one."""
        worker = self.worker()
        if worker is None or worker["pid"] != self.pid:
            return False
        return bool(worker["status"] == "healthy" and worker["slots_started"] == worker["slots"])

    def healthy(self, seconds: float = HEALTHY_S) -> Agent:
        """Wait until this life is healthy and all its slots have started."""
        eventually(self.is_healthy, seconds)
        return self

    def processes(self) -> set[int]:
        """The ids of all living processes of the agent, escaped ones too."""
        return set(alive_with("MUSTER_AGENT_HOME", str(self.home)))

    def parts(self, name: str) -> list[int]:
        """The living processes that play this part."""
        if name == "main":
            return [self.pid] if self.process and self.process.poll() is None else []
        if name in MODULES:
            return children(self.pid, MODULES[name])
        guards = [pid for slot in self.parts("slot") for pid in children(slot)]
        # A workflow is its guard's child, by fork or exec; what has escaped it may have fallen to the guard, too.
        return guards if name == "guard" else [pid for guard in guards for pid in children(guard)]

    def freeze(self) -> int:
        """Stop all processes, as a host that stands still; returns the moment (CLOCK_BOOTTIME in ns) before."""
        return self._strike(signal.SIGSTOP)

    def thaw(self) -> int:
        """Let all processes go on; returns the moment (CLOCK_BOOTTIME in ns) before."""
        moment = boottime_ns()
        send(signal.SIGCONT, self.processes())
        return moment

    def kill(self) -> int:
        """Kill all processes in one blow: none sees another's death before its own; returns the moment as `thaw`."""
        moment = self._strike(signal.SIGSTOP, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        return moment

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """Send main a signal and wait for its end."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def close(self) -> None:
        """Kill all that is left of the agent. Fails when something cannot be killed."""
        eventually(self._is_gone, GONE_S)
        if self.process is not None:
            self.process.wait(GONE_S)

    def _strike(self, *numbers: signal.Signals) -> int:
        """Send signals to all processes, then to those made meanwhile; returns the moment before."""
        pids = [*self.parts("main"), *self.processes()]  # main first, which would notice
        moment = boottime_ns()
        for number in numbers:
            send(number, pids)
        for number in numbers:
            send(number, self.processes())
        return moment

    def _is_gone(self) -> bool:
        left = self.processes()
        send(signal.SIGKILL, left)
        if self.process is not None:
            self.process.poll()
        return not left

    def _joined(self) -> dict[str, Any]:
        worker = self.worker()
        assert worker is not None, f"{self.name} has not joined"
        return worker

    def _settings(self) -> dict[str, str]:
        return {
            **clean(os.environ),
            "MUSTER_AGENT_HOME": str(self.home),
            "MUSTER_SERVER": self.pool.server,
            "MUSTER_JOIN_TOKEN": (self.pool.home / "join-token").read_text().strip(),
            "MUSTER_OUTPUT": str(self.pool.home / "output"),
            "MUSTER_TEST": self.pool.mark,
            "MUSTER_NAME": self.name,
            "MUSTER_HOST_ID": self.pool.home.name,
            "MUSTER_ADDRESS": "127.0.0.1",
            "MUSTER_GPUS": "",
            "MUSTER_GRACE_S": "5",
            **(self.host.environment if self.host else {}),
            **self.environment,
        }
