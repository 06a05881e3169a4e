"""Workflows on hold, as one step of dispatch knows them: of which no job may start, and of which one may.

The ledger is the judge (waiting_assign): what is known here only spares placing what it would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from app.coordinator.attempts.revoke import Failover
from app.ledger import holds, open_attempts
from app.ledger.db import Ledger
from app.ledger.holds import Hold
from app.ledger.waiting import WaitingClass
from app.pool.model import WaitingReason

HELD = "its workflow is on hold"


class Withhold:
    """Takes back what stands behind slots of a workflow on hold: it was given before the hold began."""

    def __init__(self, ledger: Ledger, failover: Failover) -> None:
        self._ledger = ledger
        self._failover = failover

    def step(self) -> None:
        """Take back what has not started, but for the jobs that try. Raises Unavailable or RedisError; repeatable."""
        overtaken = holds.overtaken(self._ledger)
        for attempt in open_attempts.held(self._ledger) if overtaken else ():
            if (attempt.job, attempt.attempt) in overtaken:
                self._failover.take_back(attempt, HELD)


class HeldWorkflows:
    """The workflows on hold. One of whose jobs may try is shut as soon as one was placed."""

    def __init__(self, found: Iterable[Hold]) -> None:
        self._holds: Mapping[str, Hold] = {hold.workflow: hold for hold in found}
        self._shut = {name for name, hold in self._holds.items() if not hold.may_try}

    def __contains__(self, workflow: str) -> bool:
        return workflow in self._holds

    @property
    def any(self) -> bool:
        """Whether any workflow is on hold."""
        return bool(self._holds)

    def is_shut(self, workflow: str) -> bool:
        """True for a workflow of which no job may start now."""
        return workflow in self._shut

    def tried(self, workflows: Collection[str]) -> bool:
        """Shut those of these workflows that are on hold, of each of which a job was placed; False when none is."""
        on_hold = self._holds.keys() & workflows
        self._shut |= on_hold
        return bool(on_hold)

    def first_of_each(self, workflow_of: Callable[[str], str]) -> Callable[[str], bool]:
        """A filter that lets jobs through by their class; of each workflow on hold the first one only."""
        seen: set[str] = set()

        def lets_through(class_name: str) -> bool:
            workflow = workflow_of(class_name)
            if workflow not in self._holds:
                return True
            first = workflow not in seen and not self.is_shut(workflow)
            seen.add(workflow)
            return first

        return lets_through

    def reasons(self, classes: Mapping[str, WaitingClass]) -> dict[str, WaitingReason]:
        """Why the classes of shut workflows wait, by name."""
        shut = {name: each.requirement.workflow for name, each in classes.items()} if self._shut else {}
        return {name: self._holds[it].reason for name, it in shut.items() if it in self._shut}
