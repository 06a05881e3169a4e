"""How often the fleet is asked why classes wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.coordinator.placement import unschedulable
from app.coordinator.placement.unschedulable import AGAIN_S, REST, Parked
from app.ledger.db import Ledger
from app.ledger.waiting import WaitingClass
from app.pool.model import Requirement, Worker
from app.pool.policy import Policy

TAKES_S = 0.2


class Asked:
    """A fleet of nobody that takes its time to say so."""

    def __init__(self) -> None:
        self.now, self.of, self.policy = 100.0, list[str](), Policy()

    def why_waiting(self, requirement: Requirement) -> str:
        self.now += TAKES_S
        self.of += requirement.tags
        return "no worker has joined the pool yet"

    def anybody_fits(self, requirement: Requirement) -> bool:
        return False

    def fitting(self, requirement: Requirement) -> Iterator[Worker]:
        return iter(())

    healthy_fitting = fitting


def test_those_that_nobody_asked_of_come_at_once_and_the_others_take_a_tenth_of_the_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Asked()
    monkeypatch.setattr(unschedulable, "why_waiting_in", lambda _, requirement: fleet.why_waiting(requirement))
    parked = Parked(ledger, fleet, lambda: fleet.now)  # type: ignore[arg-type]
    classes = {name: WaitingClass(name, Requirement("burn", tags=(name,)), None) for name in "abc"}
    for _ in range(4):
        parked.step(classes, classes.keys(), {})
    assert fleet.of == ["a", "b", "c"]
    fleet.now += AGAIN_S
    parked.step(classes, classes.keys(), {})
    assert fleet.of == ["a", "b", "c"]
    fleet.now += REST * TAKES_S - AGAIN_S
    for _ in range(2):
        parked.step(classes, classes.keys(), {})
    assert fleet.of == ["a", "b", "c", "a"]
    classes["d"] = WaitingClass("d", Requirement("burn", tags=("d",)), None)
    parked.step(classes, classes.keys(), {})
    assert fleet.of[4:] == ["d"]
