"""From a worker's death to the first step elsewhere: `python -m bench.failover [--interval 15] [--times 10]`.

Two agents on hosts of their own (network namespaces: needs root), one job of short steps with a
checkpoint after each; a fault hits the worker that runs it. Measured by CLOCK_BOOTTIME in the
workflow itself. Run it on a computer that does nothing else.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.processes import boottime_ns
from bench.figures import publish
from tests.agents import Agent, send
from tests.chaos import history
from tests.hosts import missing, new_network
from tests.services import Services, eventually
from tests.site import Site, new_site

STEP_S = 0.05
STEPS = 3000  # more than any fault leaves time for
WAIT_S = 120
COLUMNS = ("fault", "n", "p50 s", "max s", "steps lost, most", "accepted twice", "overlap s, most", "target p50 s")


@dataclass(frozen=True)
class Fault:
    """What is done, what undoes it, and the targets at default settings and at an interval of 1 s."""

    name: str
    do: Callable[[Agent], object]
    undo: Callable[[Agent], object]
    targets: tuple[float, float]
    strict: bool = False
    address: bool = True


@dataclass
class Figures:
    """Of one fault, a figure a time."""

    seconds: list[float] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    twice: int = 0
    overlap_s: list[float] = field(default_factory=list)

    def row(self, fault: Fault, target: float) -> list[Any]:
        """As the table shows them."""
        ranked = sorted(self.seconds)
        middle = ranked[len(ranked) // 2]
        return [fault.name, len(ranked), middle, ranked[-1], max(self.lost), self.twice, max(self.overlap_s), target]


def _kill(part: str) -> Callable[[Agent], object]:
    return lambda agent: send(signal.SIGKILL, agent.parts(part))


def _cut(agent: Agent) -> None:
    assert agent.host
    agent.host.cut()


def _mend(agent: Agent) -> None:
    assert agent.host
    agent.host.mend()


def _again(agent: Agent) -> None:
    agent.close()
    agent.start()


def _nothing(_: Agent) -> None:
    """It has never gone away."""


FAULTS = (
    Fault("agent killed, address reachable", Agent.kill, _again, (0.3, 0.3)),
    Fault("agent killed, strict", Agent.kill, _again, (47, 3.5), strict=True),
    Fault("agent killed, no address", Agent.kill, _again, (2.2, 1.8), address=False),
    Fault("guard killed", _kill("guard"), _nothing, (0.3, 0.3)),
    Fault("slot killed", _kill("slot"), _nothing, (0.3, 0.3)),
    Fault("workflow killed", _kill("workflow"), _nothing, (0.3, 0.3)),
    Fault("link down", _cut, _mend, (9, 3.5)),
    Fault("link down, strict", _cut, _mend, (47, 3.5), strict=True),
    Fault("agent frozen", Agent.freeze, Agent.thaw, (47, 3.5)),
    Fault("agent frozen, strict", Agent.freeze, Agent.thaw, (47, 3.5), strict=True),
    Fault("SIGTERM", lambda agent: send(signal.SIGTERM, [agent.pid]), _again, (1, 1)),
)


def measure(site: Site, fault: Fault, figures: Figures) -> None:
    """Do it once, and put everything back."""
    job = site.submit(steps=STEPS, step_s=STEP_S, strict=fault.strict)
    eventually(lambda: len(site.moments(job)) > 6, 60)
    victim = site.of(site.moments(job)[-1].worker)
    at = boottime_ns()
    fault.do(victim)
    after = site.began(job, 2, WAIT_S)
    before = history.attempts(site.moments(job))[1]
    # A step that ended after the cut is not lost by us: nobody could know of it.
    done = max((each.step + 1 for each in before if each.what == "end" and each.at <= at), default=0)
    figures.seconds.append((after.at - at) / history.S)
    figures.lost.append(max(0, done - after.step))
    fault.undo(victim)
    eventually(victim.is_healthy, 60)
    figures.overlap_s.append(history.overlap_s(site.moments(job)))
    succeeded = [each for each in site.attempts(job) if each["end"] == "succeeded"]
    figures.twice += max(0, len(succeeded) - 1)
    site.pool.client.delete(f"/jobs/{job}")
    eventually(lambda: all((agent.worker() or {}).get("jobs") == 0 for agent in site.agents), 60)


def run(site: Site, times: int, interval_s: float, only: str) -> list[list[Any]]:
    """Every fault so many times; at slow settings those that wait for silence fewer."""
    rows = []
    for fault in (each for each in FAULTS if only in each.name):
        site.renew()
        target = fault.targets[0 if interval_s > 1 else 1]
        for _ in range(2):
            site.starting(**({} if fault.address else {"MUSTER_ADDRESS": ""}))
        for agent in site.agents:
            agent.healthy()
        figures = Figures()
        for number in range(times if target < 20 else max(1, times // 3)):
            measure(site, fault, figures)
            print(f"{fault.name} {number + 1}: {figures.seconds[-1]:.2f} s", file=sys.stderr, flush=True)
        rows.append(figures.row(fault, target))
    return rows


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--interval", type=float, default=15)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--only", default="", help="faults whose name has these words")
    asked = parser.parse_args()
    if why := missing():
        print(why, file=sys.stderr)
        return 1
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-")))
        services = Services(folder)
        stack.callback(services.close)
        network = stack.enter_context(new_network())
        site = stack.enter_context(new_site(folder / "site", services, network, asked.interval))
        rows = run(site, asked.times, asked.interval, asked.only)
    name = f"failover-{asked.interval:g}"
    title = f"From the fault to the first step of the new attempt, a beat every {asked.interval:g} s"
    publish(name, title, COLUMNS, rows, {"took_s": round(time.monotonic() - began)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
