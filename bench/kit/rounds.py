"""One fault, again and again: a job, the agent that runs it, and what became of both, from what the steps wrote down.

Faults that show at once are done one after the other. Those that only silence shows take up to 47 s
each; of them many are done side by side, a second apart, each to an agent of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.processes import boottime_ns
from app.pool.model import ENDED
from bench.kit.faults import OLD_S, Fault
from tests.kit.agents import Agent
from tests.kit.history import Moment, S, parsed
from tests.kit.pool_with_agents import PoolWithAgents
from tests.kit.services import eventually

AGENTS = 3  # where one fault is done at a time
SPARE_AGENTS = 2  # where the jobs of many move at once
STEPS, STEP_S = 50, 0.05
LONG_STEPS, LONG_STEP_S = 50, 0.5  # side by side: ten jobs' checkpoints shall not be what is measured
FIRST_STEPS = 3
APART_S = 1.0
LOOK_S = 0.1
HEALTHY_S = 90
LIMIT_S = 100.0  # a job that has not begun anew by then is lost


@dataclass(frozen=True)
class Outcome:
    """Of one fault: to the first step of the new attempt, steps done in vain, results accepted, time of overlap."""

    seconds: float
    lost_steps: int
    accepted: int
    overlap_s: float


class Round:
    """One job. `look` is called until it says that all is over."""

    def __init__(self, site: PoolWithAgents, fault: Fault, number: int) -> None:
        self.fault = fault
        self._site = site
        self._path = site.folder / f"{fault.slug}-{number}"
        self._read = 0
        self._moments: list[Moment] = []
        self._victim: Agent | None = None
        self._hit_at = self._undone_at = 0
        self._due_s = 0.0
        many = fault.silent
        self.job = site.submit(
            steps=LONG_STEPS if many else STEPS,
            step_s=LONG_STEP_S if many else STEP_S,
            strict=fault.strict,
            params={"history": str(self._path)},
        )

    @property
    def runs(self) -> bool:
        """True once the job has taken some steps."""
        self._tail()
        return sum(each.what == "end" for each in self._moments) >= FIRST_STEPS

    def hit_in(self, seconds: float) -> None:
        """Do the fault to whoever runs it when so much time has passed."""
        self._due_s = time.monotonic() + seconds
        self._victim = self._site.of(self._moments[-1].worker)

    def look(self) -> bool:
        """Do what is due; True once the job has ended and its first worker is well again."""
        assert self._victim
        self._tail()
        if not self._hit_at:
            if time.monotonic() >= self._due_s:
                self._hit_at = self.fault.do(self._victim)
                if self.fault.again:
                    self._undo()
            return False
        if not self._undone_at:
            self._undo_when_due()
            return False
        began = self._first() is not None
        assert began or boottime_ns() < self._hit_at + LIMIT_S * S, f"{self.job} has not begun anew in {LIMIT_S} s"
        return began and self._ended() and self._victim.is_healthy()

    def outcome(self) -> Outcome:
        """What the steps say."""
        new = self._first()
        assert new is not None
        old = [each for each in self._moments if each.attempt < new.attempt]
        since = old[-1].at if self.fault.asked else self._hit_at
        done = max((each.step + 1 for each in old if each.what == "end" and each.at <= new.at), default=0)
        both = max(new.at, self._undone_at) if self.fault.still else new.at
        accepted = sum(each["end"] == "succeeded" for each in self._site.attempts(self.job))
        overlap_s = max(0.0, (old[-1].at - both) / S)
        return Outcome((new.at - since) / S, max(0, done - new.step), accepted, overlap_s)

    def _undo_when_due(self) -> None:
        new = self._first()
        assert new or boottime_ns() < self._hit_at + LIMIT_S * S, f"{self.job} has not begun anew in {LIMIT_S} s"
        old_s = OLD_S if self.fault.silent else 0.0
        if new and boottime_ns() >= new.at + old_s * S:
            self._undo()

    def _undo(self) -> None:
        assert self._victim
        self._undone_at = boottime_ns()
        self.fault.undo(self._victim)

    def _first(self) -> Moment | None:
        old = self._moments[0].attempt
        return next((each for each in self._moments if each.attempt > old), None)

    def _ended(self) -> bool:
        return bool(self._site.job(self.job)["state"] in ENDED)

    def _tail(self) -> None:
        """What was written since the last look; reading all of it each time would be work beside the measured one."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._read += len(whole)
        self._moments = sorted([*self._moments, *parsed(whole)], key=lambda each: each.at)


def measure(site: PoolWithAgents, fault: Fault, times: int) -> list[Outcome]:
    """So many times, with fresh agents. Fails when a job does not begin anew, and leaves the rest to `renew`."""
    site.renew()
    return _side_by_side(site, fault, times) if fault.silent else _in_turn(site, fault, times)


def _in_turn(site: PoolWithAgents, fault: Fault, times: int) -> list[Outcome]:
    _start(site, fault, AGENTS, slots=1)
    outcomes = []
    for number in range(times):
        each = Round(site, fault, number)
        eventually(partial(_all_run, [each]), HEALTHY_S)
        each.hit_in(0)
        _until_over([each])
        outcomes.append(each.outcome())
    return outcomes


def _side_by_side(site: PoolWithAgents, fault: Fault, times: int) -> list[Outcome]:
    _start(site, fault, times, slots=1)
    rounds = [Round(site, fault, number) for number in range(times)]
    eventually(partial(_all_run, rounds), HEALTHY_S)
    # Only now: each job has an agent of its own, and none of them is where they all move.
    _start(site, fault, SPARE_AGENTS, slots=-(-times // SPARE_AGENTS))
    for number, each in enumerate(rounds):
        each.hit_in(number * APART_S)
    _until_over(rounds)
    return [each.outcome() for each in rounds]


def _start(site: PoolWithAgents, fault: Fault, count: int, slots: int) -> None:
    address = {} if fault.address else {"MUSTER_ADDRESS": ""}
    new = [site.starting(**address, MUSTER_SLOTS=str(slots)) for _ in range(count)]
    for agent in new:
        agent.healthy(HEALTHY_S)


def _all_run(rounds: list[Round]) -> bool:
    return all(each.runs for each in rounds)


def _until_over(rounds: Iterable[Round]) -> None:
    left = list(rounds)
    while left:
        left = [each for each in left if not each.look()]
        time.sleep(LOOK_S)


def stored(path: Path) -> list[Outcome]:
    """What an earlier run has measured; none when it has not."""
    return [Outcome(**each) for each in json.loads(path.read_text())["outcomes"]] if path.exists() else []
