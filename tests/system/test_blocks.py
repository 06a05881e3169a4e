"""A worker where a workflow fails while it succeeds elsewhere gets none of its jobs, from the next step on."""

from __future__ import annotations

import psycopg

from app.coordinator.hints import Hint
from app.ledger import blocks
from app.pool.model import JobState, Requirement
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene
from tests.kit.peer import Peer


def fail(scene: CoordinatorScene, peer: Peer) -> None:
    """A job for this worker alone, which fails there; nobody has looked at that yet."""
    order = scene.running(peer, requirement=only(peer), max_failures=1)
    peer.end(order, "failed", cause="workflow", error="no such frame")


def only(peer: Peer) -> Requirement:
    return Requirement("burn", only_workers=(peer.id,))


def two_failures(scene: CoordinatorScene) -> tuple[Peer, Peer]:
    """A worker where two have failed in a row, and one where one has succeeded since."""
    bad, good = scene.peer("bad"), scene.peer("good")
    fail(scene, bad)
    order = scene.running(good, requirement=only(good))
    good.end(order)
    fail(scene, bad)
    scene.step()
    return bad, good


def test_the_step_that_hears_of_the_third_failure_gives_the_worker_nothing_more(scene: CoordinatorScene) -> None:
    bad, good = two_failures(scene)
    fail(scene, bad)
    waits = submit(scene.ledger, only(bad))
    free = submit(scene.ledger)

    scene.leader.step(Hint(reports={bad.id}))

    assert scene.job(free.id).worker == good.id
    [block] = blocks.listed(scene.ledger, bad.id)
    waiting = scene.job(waits.id).waiting
    assert waiting is not None
    until = f"until {block.until:%H:%M} UTC (3 failures in a row while others succeed)"
    assert f"blocked for burn on bad {until}" in waiting


def test_a_new_leader_knows_the_blocks(scene: CoordinatorScene) -> None:
    bad, _ = two_failures(scene)
    fail(scene, bad)
    scene.step()
    scene.new_leader()
    waits = submit(scene.ledger, only(bad))

    scene.step()

    assert scene.job(waits.id).state is JobState.PENDING


def test_within_a_second_of_its_end_the_worker_gets_jobs_again(scene: CoordinatorScene, database_url: str) -> None:
    bad, _ = two_failures(scene)
    fail(scene, bad)
    scene.step()
    waits = submit(scene.ledger, only(bad))
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE worker_blocks SET until = now()")

    scene.time += 1
    scene.leader.step(Hint())

    assert scene.job(waits.id).worker == bad.id


def test_a_person_who_forgives_lets_it_have_jobs_again(scene: CoordinatorScene) -> None:
    bad, _ = two_failures(scene)
    fail(scene, bad)
    scene.step()
    waits = submit(scene.ledger, only(bad))
    assert blocks.forgive(scene.ledger, [bad.id], "burn", "root") == {bad.id}

    scene.leader.step(Hint(fleet=True, jobs=True))  # as the bell says

    assert scene.job(waits.id).worker == bad.id
