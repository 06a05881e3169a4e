"""What ran out of GPU memory goes to a larger card, where there is one; else anywhere but where it failed."""

from __future__ import annotations

import psycopg

from app.pool.model import Gpu, JobState, Requirement
from app.pool.protocol import Order
from tests.kit.coordinator_scene import CoordinatorScene, end
from tests.kit.peer import Peer


def card(name: str, vram_mb: int) -> Gpu:
    return Gpu(f"GPU-{name}", 0, "X", vram_mb)


def ran_out(scene: CoordinatorScene, peer: Peer, order: Order) -> None:
    end(scene, peer, order, "failed", cause="gpu memory", error="CUDA out of memory", exit_code=1)


def back_off_over(scene: CoordinatorScene, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE jobs SET not_before = now()")
    scene.step()


def test_it_goes_on_at_once_where_a_card_is_larger_not_where_one_is_as_small(scene: CoordinatorScene) -> None:
    small = scene.peer("small", card("a", 8192))
    order = scene.running(small)
    scene.peer("alike", card("b", 8192))
    large = scene.peer("large", card("c", 24576))

    ran_out(scene, small, order)

    job = scene.job(order.job)
    assert (job.worker, job.spec.requirement.above_vram_mb, job.failures) == (large.id, 8192, 1)


def test_a_card_is_not_larger_for_what_others_use_of_it(scene: CoordinatorScene) -> None:
    one = scene.peer("one", card("a", 24576))
    one.others_mb = {"GPU-a": 100}
    one.beat()
    order = scene.running(one)
    scene.peer("alike", card("b", 24576))

    ran_out(scene, one, order)

    assert "no worker that could run it has a card with more than 24448 MiB" in (scene.job(order.job).waiting or "")


def test_it_waits_for_the_larger_card_while_that_is_busy_and_says_so(scene: CoordinatorScene) -> None:
    small = scene.peer("small", card("a", 8192))
    order = scene.running(small)
    scene.peer("alike", card("b", 8192))
    large = scene.peer("large", card("c", 24576))
    other = scene.running(large, requirement=Requirement("burn", only_workers=(large.id,)))

    ran_out(scene, small, order)

    job = scene.job(order.job)
    assert job.state is JobState.PENDING
    assert job.waiting == "waits for a free slot on a card with more than 8192 MiB free: large is busy"
    large.end(other)
    large.beat()
    scene.step()
    assert scene.job(order.job).worker == large.id


def test_where_no_card_is_larger_it_waits_says_why_and_then_runs_elsewhere(
    scene: CoordinatorScene, database_url: str
) -> None:
    small = scene.peer("small", card("a", 8192))
    order = scene.running(small)
    alike = scene.peer("alike", card("b", 8192))

    ran_out(scene, small, order)

    job = scene.job(order.job)
    assert job.state is JobState.PENDING and job.not_before is not None
    assert job.waiting is not None and "no worker that could run it has a card with more than 8192 MiB" in job.waiting
    back_off_over(scene, database_url)
    assert scene.job(order.job).worker == alike.id


def test_where_nobody_else_can_run_it_it_is_tried_there_again_until_its_failures_are_used_up(
    scene: CoordinatorScene, database_url: str
) -> None:
    small = scene.peer("small", card("a", 8192))
    order = scene.running(small, max_failures=2)
    ran_out(scene, small, order)
    back_off_over(scene, database_url)

    again = small.next_order()
    small.claim(again)
    ran_out(scene, small, again)

    assert (again.job, again.attempt) == (order.job, 2)
    assert scene.job(order.job).state is JobState.FAILED


def test_a_larger_card_of_the_same_worker_is_one(scene: CoordinatorScene) -> None:
    two = scene.peer("two", card("a", 8192), Gpu("GPU-b", 1, "X", 24576))
    two.others_mb = {"GPU-b": 20_000}
    two.beat()
    order = scene.running(two)
    assert order.gpus == ("GPU-a",)
    scene.peer("alike", card("c", 8192))
    two.others_mb = {}
    two.beat()
    scene.step()

    ran_out(scene, two, order)

    assert scene.job(order.job).worker == two.id
    again = two.next_order()
    assert again.gpus == ("GPU-b",)


def test_a_new_leader_still_knows_what_it_wants(scene: CoordinatorScene) -> None:
    small = scene.peer("small", card("a", 8192))
    order = scene.running(small)
    large = scene.peer("large", card("c", 24576))
    other = scene.running(large, requirement=Requirement("burn", only_workers=(large.id,)))
    ran_out(scene, small, order)
    scene.new_leader()

    large.end(other)
    large.beat()
    scene.step()

    assert scene.job(order.job).worker == large.id
