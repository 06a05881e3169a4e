"""The chaos run: agents under faults, jobs all the while, and at the end the question whether anything was lost.

One thread does it all, as agents end with the thread that started them. Everything random comes from
the seed; what the operating system makes of it does not.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.processes import boottime_ns
from app.pool.errors import PoolError
from app.pool.model import ENDED
from tests.chaos.faults import Fault, inject
from tests.chaos.people import NEEDS, everything_everywhere, found_group, meddle, record
from tests.chaos.placement import Waits
from tests.kit.agents import Agent
from tests.kit.history import S
from tests.kit.pool_with_agents import PoolWithAgents
from tests.kit.processes import alive_with
from tests.kit.services import eventually

AGENTS = 4
AT_ONCE = 10  # jobs that have not ended
MAX_FAILURES = 50
MEDDLES = 0.4  # share of the faults that are people's doing
PAUSE_S = (0.3, 2.0)  # between two faults
LOOK_S = 0.1
LINGER_S = 1.0 + 1.5  # invariant 9, and what a busy computer adds
SETTLE_S = 90.0


@dataclass
class Life:
    """An agent's present life."""

    agent: Agent
    number: int = 1
    ended_s: float | None = None
    again_s: float = 0.0
    looked: bool = False  # after its end, whether something of it was left
    older_gone: bool = True  # processes of older lives were looked for


@dataclass
class Run:
    """What happened; `problems` are the violations that were seen while it ran: what, and of which job."""

    jobs: dict[str, bool] = field(default_factory=dict)  # id -> strict
    faults: list[Fault] = field(default_factory=list)
    problems: list[tuple[str, str | None]] = field(default_factory=list)


class Driver:
    """Drives one site."""

    def __init__(self, site: PoolWithAgents, seed: int, say: Callable[[str], None]) -> None:
        self._site = site
        self._random = random.Random(seed)
        self._say = say
        self._run = Run()
        self._open: set[str] = set()
        self._lives: list[Life] = []
        self._next_fault_s = 0.0
        self._asked_s = 0.0
        self._waits = Waits(site)

    def run(self, seconds: float) -> Run:
        """Faults for so long; then all is mended and every job must end."""
        record(self._site.database_url)
        found_group(self._site)
        # What is killed here a hundred times is not the workflow's fault.
        self._site.change(block_failures=100)
        for _ in range(AGENTS):
            self._lives.append(Life(self._life(self._site.starting())))
        for life in self._lives:
            life.agent.healthy()
        everything_everywhere(self._site)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._turn(faults=True)
        self._say(f"{len(self._run.faults)} faults on {len(self._run.jobs)} jobs; waiting for the last to end")
        self._settle()
        return self._run

    def _settle(self) -> None:
        everything_everywhere(self._site)
        end = time.monotonic() + SETTLE_S
        while self._open and time.monotonic() < end:
            self._turn(faults=False)
        self._run.problems += [(f"1: it has not ended: {self._site.job(job)}", job) for job in sorted(self._open)]
        eventually(self._all_healthy, 40)

    def _all_healthy(self) -> bool:
        self._turn(faults=False)
        return all(life.agent.is_healthy() for life in self._lives)

    def _turn(self, *, faults: bool) -> None:
        now_s, now_ns = time.monotonic(), boottime_ns()
        for fault in self._run.faults:
            if fault.due(now_ns) or (not faults and fault.undone_at is None):
                fault.undo()
        for life in self._lives:
            self._keep(life, now_s)
        if faults:
            self._submit()
            if now_s >= self._next_fault_s:
                self._next_fault_s = now_s + self._random.uniform(*PAUSE_S)
                self._fault()
        self._ask(now_s)
        time.sleep(LOOK_S)  # nothing waits for this: the run's own rhythm

    def _life(self, agent: Agent, number: int = 1) -> Agent:
        agent.environment = {**agent.environment, "MUSTER_TEST_LIFE": f"{agent.name}-{number}"}
        return agent

    def _keep(self, life: Life, now_s: float) -> None:
        """Restart it as a supervisor would, and look at what its last life left behind."""
        agent = life.agent
        assert agent.process is not None
        if agent.process.poll() is None:
            if not life.older_gone and agent.is_healthy():
                life.older_gone = True
                self._expect_gone(life, range(1, life.number), "after its next life has joined")
            return
        if life.ended_s is None:
            life.ended_s, life.looked = now_s, False
            life.again_s = now_s + self._random.uniform(0.0, 2 * LINGER_S)
        if not life.looked and now_s >= life.ended_s + LINGER_S:
            life.looked = True
            if not self._hurt(agent):
                self._expect_gone(life, [life.number], f"{LINGER_S} s after its agent")
        if now_s >= life.again_s:
            life.number, life.ended_s, life.older_gone = life.number + 1, None, False
            self._life(agent, life.number).start()

    def _hurt(self, agent: Agent) -> bool:
        """Whether more than one part was hit lately: then the next life ends what is left."""
        since = boottime_ns() - 15 * S
        return any(
            fault.agent is agent and fault.blow and (fault.undone_at or fault.at) > since for fault in self._run.faults
        )

    def _expect_gone(self, life: Life, numbers: range | list[int], when: str) -> None:
        for number in numbers:
            left = alive_with("MUSTER_TEST_LIFE", f"{life.agent.name}-{number}")
            if left:
                self._run.problems.append((f"9: {sorted(left.items())} of {life.agent.name} live {when}", None))

    def _submit(self) -> None:
        while len(self._open) < AT_ONCE:
            strict = self._random.random() < 0.5
            escapes = self._random.random() < 0.1
            job = self._site.submit(
                steps=self._random.randint(4, 20),
                step_s=round(self._random.uniform(0.02, 0.15), 2),
                strict=strict,
                max_failures=MAX_FAILURES,
                params={"escapes": escapes},
                **self._random.choice(NEEDS),
            )
            self._run.jobs[job] = strict
            self._open.add(job)

    def _fault(self) -> None:
        life = self._random.choice(self._lives)
        if life.agent.process is None or life.agent.process.poll() is not None:
            return
        worker = life.agent.worker()
        if worker and self._random.random() < MEDDLES:
            fault = meddle(self._random, self._site, life.agent, worker["id"])
        else:
            fault = inject(self._random, life.agent, worker["id"] if worker else None)
        self._run.faults.append(fault)
        self._say(str(fault))

    def _ask(self, now_s: float) -> None:
        """Which jobs have ended, and which wait; once a second."""
        if now_s < self._asked_s + 1:
            return
        self._asked_s = now_s
        self._run.problems += self._waits.look()
        try:
            self._open = {job for job in self._open if self._site.job(job)["state"] not in ENDED}
        except PoolError as error:
            self._say(f"server: {error}")
