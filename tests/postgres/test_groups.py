"""Groups in the ledger: members and jobs follow a rename, and nothing is bound to a group that is just going."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.ledger import groups, jobs, waiting
from app.ledger.db import Ledger
from app.ledger.registry import setups, workers
from app.pool.model import JobState, Requirement, Worker
from tests.kit.actors import assign, found, join, overlapping, running, submit

FARM = Requirement("burn", group="farm")


@pytest.fixture
def worker(ledger: Ledger) -> Worker:
    """A member of the group farm."""
    worker = join(ledger)
    groups.create(ledger, "farm", None)
    groups.fill(ledger, "farm", [worker.id], "ana")
    return now(ledger, worker)


def now(ledger: Ledger, worker: Worker) -> Worker:
    found = workers.find(ledger, worker.id)
    assert found is not None
    return found


def changed(ledger: Ledger, name: str, change: Callable[[Ledger], object]) -> None:
    """Change a group as its views do."""
    with ledger.transaction() as tx:
        assert groups.lock(tx, name)
        change(tx)


def classes(ledger: Ledger) -> list[Requirement]:
    """What the due jobs demand, as dispatch finds them."""
    return [each.requirement for each in waiting.classes(ledger, {}).values()]


def test_a_rename_takes_members_strategy_and_unended_jobs_along(ledger: Ledger, worker: Worker) -> None:
    groups.set_strategy(ledger, "farm", "round-robin")
    needs = replace(FARM, tags=("optix",), min_vram_mb=5000)
    waiting, large = submit(ledger, FARM), submit(ledger, needs)
    runs = running(ledger, worker, submit(ledger, FARM))
    over = submit(ledger, FARM)
    jobs.cancel(ledger, over.id)
    changed(ledger, "farm", lambda tx: groups.rename(tx, "farm", "barn"))

    assert now(ledger, worker).groups == ("barn",)
    barn = groups.find(ledger, "barn")
    assert barn is not None
    assert (barn.strategy, barn.workers, barn.waiting, barn.running) == ("round-robin", (worker.id,), 2, 1)
    assert [found(ledger, job).spec.requirement.group for job in (waiting, large, runs)] == ["barn"] * 3
    assert found(ledger, over).spec.requirement.group == "farm"
    assert set(classes(ledger)) == {replace(wish, group="barn") for wish in (FARM, needs)}
    assert groups.names(ledger) == ["barn"]
    assert groups.successor(ledger, "farm") == "barn"


def test_a_rename_to_a_name_that_is_there_changes_nothing(ledger: Ledger, worker: Worker) -> None:
    groups.create(ledger, "barn", None)
    changed(ledger, "farm", lambda tx: groups.rename(tx, "farm", "barn"))
    assert groups.names(ledger) == ["barn", "farm"]
    assert now(ledger, worker).groups == ("farm",)


def test_a_name_may_be_used_again_and_finds_the_jobs_that_waited_for_it(ledger: Ledger, worker: Worker) -> None:
    job = submit(ledger, FARM)
    changed(ledger, "farm", lambda tx: groups.delete(tx, "farm", None))
    assert now(ledger, worker).groups == () and groups.find(ledger, "farm") is None
    assert groups.create(ledger, "farm", "least-loaded")
    assert not groups.create(ledger, "farm", None)
    farm = groups.find(ledger, "farm")
    assert farm is not None and (farm.waiting, farm.workers) == (1, ())
    changed(ledger, "farm", lambda tx: groups.rename(tx, "farm", "barn"))
    changed(ledger, "barn", lambda tx: groups.rename(tx, "barn", "farm"))
    assert found(ledger, job).spec.requirement.group == "farm"
    assert groups.successor(ledger, "barn") == "farm"


def test_jobs_move_to_the_other_group_when_theirs_is_deleted(ledger: Ledger, worker: Worker) -> None:
    groups.create(ledger, "barn", None)
    job = submit(ledger, FARM)
    held = assign(ledger, submit(ledger, FARM), worker)
    changed(ledger, "farm", lambda tx: groups.delete(tx, "farm", "barn"))
    assert classes(ledger) == [replace(FARM, group="barn")]
    assert found(ledger, held).state is JobState.ASSIGNED
    assert [found(ledger, each).spec.requirement.group for each in (job, held)] == ["barn", "barn"]


def test_a_job_that_is_submitted_while_its_group_is_renamed_follows_it(ledger: Ledger, database_url: str) -> None:
    groups.create(ledger, "farm", None)
    made = []

    def submits(tx: Ledger) -> None:
        assert groups.pin(tx, ["farm"]) == []
        made.append(submit(tx, FARM))

    def renames(tx: Ledger) -> None:
        assert groups.lock(tx, "farm") and groups.rename(tx, "farm", "barn")

    overlapping(database_url, submits, renames)
    assert found(ledger, made[0]).spec.requirement.group == "barn"
    assert classes(ledger) == [replace(FARM, group="barn")]


def test_a_job_that_comes_after_a_rename_is_told_that_its_group_is_gone(ledger: Ledger, database_url: str) -> None:
    groups.create(ledger, "farm", None)
    missing: list[str] = []

    def renames(tx: Ledger) -> None:
        assert groups.lock(tx, "farm") and groups.rename(tx, "farm", "barn")

    overlapping(database_url, renames, lambda tx: missing.extend(groups.pin(tx, ["farm"])))
    assert missing == ["farm"]


def test_of_two_who_delete_into_each_other_nobody_waits_for_ever(ledger: Ledger, database_url: str) -> None:
    for name in ("farm", "barn"):
        groups.create(ledger, name, None)
    done = []

    def delete(tx: Ledger, name: str, other: str) -> None:
        if groups.lock(tx, name, other):
            groups.delete(tx, name, other)
            done.append(name)

    overlapping(database_url, lambda tx: delete(tx, "farm", "barn"), lambda tx: delete(tx, "barn", "farm"))
    assert done == ["farm"]
    assert groups.names(ledger) == ["barn"]


def test_two_who_change_one_worker_at_once_undo_nothing(ledger: Ledger, database_url: str) -> None:
    worker = join(ledger)

    def add(tag: str) -> Callable[[Ledger], None]:
        def change(tx: Ledger) -> None:
            setups.change(
                tx,
                [worker.id],
                lambda found: replace(setups.setup_of(found), tags=tuple(sorted({*found.tags, tag}))),
                "ana",
            )

        return change

    overlapping(database_url, add("a"), add("b"))
    assert (now(ledger, worker).tags, now(ledger, worker).revision) == (("a", "b"), 2)
