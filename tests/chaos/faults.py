"""What the chaos run does to agents: kill, freeze, cut; each drawn from a seed, each undone after a while."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from agent.processes import boottime_ns
from tests.kit.agents import Agent
from tests.kit.history import S
from tests.kit.hosts import LINKS
from tests.kit.processes import kill_together, send

PARTS = ("main", "beat", "slot", "guard", "workflow")
BLINK_S, LONG_S = 0.3, 8.0  # less than a beat, more than it takes to be given up on


@dataclass
class Fault:
    """One that was done; `undone_at` (ns) is set with its undoing, and `undo` then does nothing any more."""

    what: str
    agent: Agent
    worker: str | None
    at: int
    for_s: float = 0.0
    whole: bool = False  # its whole host stood still
    blow: bool = False  # several at once, or frozen: what is left behind is the next life's to end
    undone_at: int | None = None
    _undo: Callable[[], object] | None = None

    def due(self, now_ns: int) -> bool:
        """Whether its time is over."""
        return self.undone_at is None and now_ns >= self.at + self.for_s * S

    def undo(self) -> None:
        """As before; what has died stays dead."""
        self.undone_at = boottime_ns()
        if self._undo is not None:
            self._undo()

    def __str__(self) -> str:
        undone = f", until {self.undone_at / S:.3f}" if self.undone_at and self.for_s else ""
        return f"{self.at / S:.3f} {self.what} at {self.agent.name} ({self.worker}){undone}"


def inject(random_: random.Random, agent: Agent, worker: str | None) -> Fault:
    """Do one to this agent."""
    for_s = round(random_.uniform(BLINK_S, LONG_S), 1)
    kinds = [_kill] * 5 + [_freeze] * 4 + ([_cut] * 3 if agent.host else [])
    return random_.choice(kinds)(random_, agent, worker, for_s)


def _kill(random_: random.Random, agent: Agent, worker: str | None, _: float) -> Fault:
    part = random_.choice([*PARTS, "slot and guard", "everything"])
    fault = Fault(f"SIGKILL {part}", agent, worker, boottime_ns(), blow=part not in PARTS)
    if part == "everything":
        agent.kill()
    elif part == "slot and guard":
        kill_together([*agent.parts("slot"), *agent.parts("guard")])
    else:
        send(signal.SIGKILL, agent.parts(part))
    return fault


def _freeze(random_: random.Random, agent: Agent, worker: str | None, for_s: float) -> Fault:
    part = random_.choice([*PARTS, "everything"])
    fault = Fault(f"SIGSTOP {part}", agent, worker, boottime_ns(), for_s, whole=part == "everything", blow=True)
    if part == "everything":
        agent.freeze()
        fault._undo = agent.thaw
    else:
        pids = agent.parts(part)
        send(signal.SIGSTOP, pids)
        fault._undo = lambda: send(signal.SIGCONT, pids)
    return fault


def _cut(random_: random.Random, agent: Agent, worker: str | None, for_s: float) -> Fault:
    kind = random_.choice(sorted(LINKS))
    assert agent.host is not None
    fault = Fault(f"link {kind}", agent, worker, boottime_ns(), for_s, _undo=agent.host.mend)
    LINKS[kind](agent.host)
    return fault
