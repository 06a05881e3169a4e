"""How often the fleet is asked why classes wait."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest

from app.coordinator.placement import unschedulable
from app.coordinator.placement.unschedulable import AGAIN_S, REST, UnschedulableClasses
from app.ledger.db import Ledger
from app.ledger.waiting import WaitingClass
from app.pool.model import Requirement, WaitingFor, WaitingReason, Worker, WorkerId
from app.pool.policy import Policy
from app.pool.protocol import Beat

TAKES_S = 0.2


class SlowFleet:
    """A fleet of nobody that takes its time to say so."""

    def __init__(self) -> None:
        self.now, self.asked_of, self.policy = 100.0, list[str](), Policy()
        self.workers, self.groups = dict[WorkerId, Worker](), frozenset[str]()
        self.beats = dict[WorkerId, Beat]()

    def why_waiting(self, requirement: Requirement, *_: object) -> WaitingReason:
        self.now += TAKES_S
        self.asked_of += requirement.tags
        return WaitingReason(WaitingFor.WORKER, "no worker has joined the pool yet")

    def healthy_fitting(self, requirement: Requirement, without: Collection[WorkerId] = ()) -> Iterator[Worker]:
        return iter(())


def tagged(*tags: str) -> dict[str, WaitingClass]:
    return {tag: WaitingClass(tag, Requirement("burn", tags=(tag,)), frozenset()) for tag in tags}


def test_new_classes_are_asked_about_at_once_and_the_others_take_a_tenth_of_the_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = SlowFleet()
    monkeypatch.setattr(unschedulable, "why_waiting", fleet.why_waiting)
    classes = tagged(*"abc")
    found = UnschedulableClasses(ledger, fleet, lambda: fleet.now)  # type: ignore[arg-type]
    for _ in range(4):
        found.step(classes, set(classes), {})
    assert fleet.asked_of == ["a", "b", "c"]
    fleet.now += AGAIN_S
    found.step(classes, set(classes), {})
    assert fleet.asked_of == ["a", "b", "c"]
    fleet.now += REST * TAKES_S - AGAIN_S
    for _ in range(2):
        found.step(classes, set(classes), {})
    assert fleet.asked_of == ["a", "b", "c", "a"]
    classes |= tagged("d")
    found.step(classes, set(classes), {})
    assert fleet.asked_of[4:] == ["d"]
