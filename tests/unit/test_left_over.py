"""What is remembered of jobs that found no room."""

from __future__ import annotations

from typing import Any

import pytest

from app.coordinator.placement.place import Want
from app.coordinator.placement.unplaced import MOST_DIFFERENT, TELLING_S, TOLD, Candidate, LeftOver
from app.ledger.waiting import Wish
from app.pool.model import JobId, Requirement, WorkerId
from tests.kit.waiting_jobs import waiting


class Asked:
    """A fleet that is asked why jobs wait, and takes its time."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.now, self.times, self.takes_s = 0.0, 0, takes_s

    def why_waiting(self, needs: Requirement, without: frozenset[WorkerId], above_mb: int) -> str:
        self.now += self.takes_s
        self.times += 1
        return f"not on {', '.join(sorted(without))}"


def left_over(fleet: Asked) -> LeftOver:
    return LeftOver(fleet.why_waiting, lambda: fleet.now)


def candidate(number: int, failed_on: str = "", min_vram_mb: int = 0) -> Candidate:
    want = Want(JobId(f"j{number}"), 1, min_vram_mb)
    return Candidate(waiting(f"j{number}", min_vram_mb=min_vram_mb), frozenset(failed_on.split()), want)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "within"),
    [
        ({}, True),
        ({"least_mb": 5}, True),
        ({"least_mb": 6}, False),
        ({"without": frozenset("a")}, True),
        ({"without": frozenset("c")}, False),
        ({"class_name": "d"}, False),
        # What has failed is heeded only where others could run it: for another of the class that may be otherwise.
        ({"least_mb": 5, "without": frozenset("ab"), "failed_on": frozenset("x"), "above_mb": 7}, True),
        ({"least_mb": 4, "without": frozenset("ab"), "failed_on": frozenset("x"), "above_mb": 7}, False),
        ({"failed_on": frozenset("x")}, False),
        ({"above_mb": 7}, False),
    ],
)
def test_what_has_no_room_for_one_has_none_for_who_wants_as_much(facts: dict[str, Any], within: bool) -> None:
    other = Wish("c", 5, frozenset("ab"), frozenset("x"), 7)  # type: ignore[arg-type]
    assert Wish(**{"class_name": "c", **facts}).is_within(other) is within


def test_among_many_particular_ones_those_that_rule_out_most_are_remembered() -> None:
    found = left_over(Asked())
    for number in range(2 * MOST_DIFFERENT):
        found.note(candidate(number, f"w{number}"), unsure=False)
    assert len(found.no_room(["c"])) == MOST_DIFFERENT
    found.note(candidate(99), unsure=False)
    assert found.no_room(["c"]) == [Wish("c")]
    assert found.is_known(candidate(7, "w7").wish) and not found.no_room(["d"])


def test_who_could_not_look_everywhere_says_nothing_of_others() -> None:
    found = left_over(Asked())
    found.note(candidate(1), unsure=True)
    assert not found.is_known(candidate(2).wish) and found.classes == {"c"}


def test_the_fleet_is_asked_once_for_those_that_are_alike_and_not_for_long() -> None:
    alike, slow = Asked(), Asked(TELLING_S)
    for fleet, workers in ((alike, [""] * 9), (slow, list("abc"))):
        found = left_over(fleet)
        for number, worker in enumerate(workers):
            found.note(candidate(number, f"w{worker}"), unsure=False)
        assert fleet.times == 1
    many = left_over(alike)
    for number in range(TOLD + 9):
        many.note(candidate(number, "w"), unsure=True)
    assert len(many.own) == TOLD and many.of_whole_classes() == {"c": "not on w"}
