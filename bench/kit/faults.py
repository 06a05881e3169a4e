"""The faults of bench/failover.py: what is done to an agent, what undoes it, and how soon its job should go on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from agent.processes import boottime_ns
from tests.kit.agents import Agent
from tests.kit.processes import send

OLD_S = 5.0  # for how long a host stays cut off or frozen when its job runs elsewhere already


@dataclass(frozen=True)
class Fault:
    """`do` comes back with the moment (CLOCK_BOOTTIME, ns) at which it happened.

    `targets` are those of the median at default settings and at a beat each second; None: nothing is promised.
    """

    name: str
    do: Callable[[Agent], int]
    undo: Callable[[Agent], object]
    targets: tuple[float, float] | None
    strict: bool = False
    address: bool = True
    silent: bool = False  # found by silence: takes so long that many are measured side by side
    again: bool = False  # undone at once: what is measured is how soon a new life helps
    still: bool = False  # takes no step until it is undone
    asked: bool = False  # the workflow may finish its step: counted from that step's end

    @property
    def slug(self) -> str:
        """Its name as a file's."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower()).replace("--", "-")


def _kill(part: str) -> Callable[[Agent], int]:
    def kill(agent: Agent) -> int:
        pids = agent.parts(part)
        assert pids, f"no {part} runs"
        return _send(signal.SIGKILL, pids)

    return kill


def _terminate(agent: Agent) -> int:
    return _send(signal.SIGTERM, [agent.pid])


def _cut(agent: Agent) -> int:
    assert agent.host
    at = boottime_ns()
    agent.host.cut()
    return at


def _mend(agent: Agent) -> None:
    assert agent.host
    agent.host.mend()


def _again(agent: Agent) -> None:
    agent.close()
    agent.start()


def _nothing(_: Agent) -> None:
    """Nothing: the agent has never gone away."""


def _send(number: signal.Signals, pids: list[int]) -> int:
    at = boottime_ns()
    send(number, pids)
    return at


FAULTS = (
    Fault("agent killed", Agent.kill, _again, (0.3, 0.3)),
    Fault("agent killed, no address", Agent.kill, _again, (2.2, 1.8), address=False),
    Fault("agent killed, strict", Agent.kill, _again, (47, 3.5), strict=True, silent=True),
    Fault("agent killed, strict, no address", Agent.kill, _again, (47, 3.5), strict=True, address=False, silent=True),
    Fault("agent killed, strict, started again", Agent.kill, _again, None, strict=True, again=True),
    Fault("guard killed", _kill("guard"), _nothing, (0.3, 0.3)),
    Fault("guard killed, strict", _kill("guard"), _nothing, (0.3, 0.3), strict=True),
    Fault("slot killed", _kill("slot"), _nothing, (0.3, 0.3)),
    Fault("workflow killed", _kill("workflow"), _nothing, (0.3, 0.3)),
    Fault("link down", _cut, _mend, (9, 3.5), silent=True),
    Fault("link down, no address", _cut, _mend, (9, 3.5), address=False, silent=True),
    Fault("link down, strict", _cut, _mend, (47, 3.5), strict=True, silent=True),
    Fault("agent frozen", Agent.freeze, Agent.thaw, (47, 3.5), silent=True, still=True),
    Fault("agent frozen, strict", Agent.freeze, Agent.thaw, (47, 3.5), strict=True, silent=True, still=True),
    Fault("SIGTERM", _terminate, _again, (1, 1), asked=True),
    Fault("SIGTERM, strict", _terminate, _again, (1, 1), strict=True, asked=True),
)
