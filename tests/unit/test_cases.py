"""What bench/placement.py says of its cases is true of the workers that it makes."""

from __future__ import annotations

import pytest

from app.pool.matching import refusal
from app.pool.model import Requirement, Worker
from app.pool.policy import STRATEGIES
from bench.kit.cases import CASES, COMPARED, TAGS, Case, tags_of
from tests.kit.placement_scene import a_worker

FLEET = [a_worker(f"{number:012d}", tags=tags_of(number)) for number in range(1_000)]


def case(name: str) -> Case:
    return next(each for each in CASES if each.name == name)


def fitting(wish: Requirement) -> list[Worker]:
    return [worker for worker in FLEET if refusal(worker, wish) is None]


@pytest.mark.parametrize("way", STRATEGIES)
def test_every_strategy_places_the_same_classes(way: str) -> None:
    placed = {each.name.removeprefix(f"{way}: "): each.classes for each in CASES if each.name.startswith(f"{way}: ")}
    assert placed == {name: [wish] for name, wish in COMPARED.items()}
    assert {each.strategy for each in CASES if each.name.startswith(f"{way}: ")} == {way}


def test_the_compared_classes_have_the_tags_that_they_are_named_for() -> None:
    no_tags, half, preferred = COMPARED.values()
    assert not no_tags.tags + no_tags.prefers
    assert len(half.tags) == 1
    assert len(fitting(half)) == len(FLEET) / 2
    assert len(preferred.prefers) == 2


def test_three_required_tags_are_held_together_by_one_in_a_hundred() -> None:
    [wish] = case("three required tags, held by 1 %").classes
    assert len(wish.tags) == 3
    assert len(fitting(wish)) == len(FLEET) / 100


def test_the_hundred_classes_are_for_every_worker() -> None:
    for name in ("100 classes, every worker in all", "the same, 16 kinds of workers"):
        classes = case(name).classes
        assert len(set(classes)) == len(TAGS) == 100
        assert all(len(fitting(wish)) == len(FLEET) for wish in classes)


def test_those_that_prefer_halves_tell_sixteen_kinds_apart() -> None:
    words = {tag for wish in case("the same, 16 kinds of workers").classes for tag, _ in wish.prefers}
    assert len({frozenset(words & set(worker.tags)) for worker in FLEET}) == 16


def test_each_of_twenty_classes_prefers_another_model_and_a_worker_has_three() -> None:
    preferred = [
        tag for wish in case("20 classes, each prefers another of 20 models").classes for tag, _ in wish.prefers
    ]
    assert len(set(preferred)) == 20
    assert all(len(set(preferred) & set(worker.tags)) == 3 for worker in FLEET)
