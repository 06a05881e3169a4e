"""An attempt whose card others filled goes back: no failure, nobody blamed, and not straight to where it came from."""

from __future__ import annotations

import psycopg
import pytest

from app.ledger import attempts
from app.pool.model import AttemptEnd, Gpu, JobId, JobState, Requirement
from app.pool.protocol import Order
from app.web.pages.job_story import tell
from tests.kit.actors import submit
from tests.kit.coordinator_scene import BELL, CoordinatorScene
from tests.kit.peer import Peer

ONE, TWO = Gpu("GPU-1", 0, "X", 24_000), Gpu("GPU-2", 1, "X", 24_000)
WORDS = "GPU 0 has 3968 MiB free, others hold 20032; a whole card was promised"
FULL = 20_032


def go_back(scene: CoordinatorScene, peer: Peer, order: Order) -> None:
    """As the agent does where the card has been filled; its next beat is yet to come."""
    peer.end(order, "stopped", cause="no room", error=WORDS)
    scene.step()


def hold(scene: CoordinatorScene, peer: Peer, mebibytes: int) -> None:
    """Others hold so much of its first card, and its beat says so."""
    peer.others_mb = {ONE.uuid: mebibytes}
    scene.later(2, peer)


def due(scene: CoordinatorScene, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE jobs SET not_before = now()")
    scene.step()


@pytest.mark.parametrize(
    ("demand", "free_mb", "others_mb"),
    [
        ({}, 0, 2_048),
        ({"gpus": 2}, 0, 2_048),
        ({"gpus": 1, "min_vram_mb": 8_000}, 8_000, 2_048),
        ({"min_vram_mb": 8_000}, 8_000, None),
        ({"min_vram_mb": 0}, 0, None),
    ],
)
def test_an_order_says_what_was_free_of_its_cards(
    scene: CoordinatorScene, demand: dict[str, int], free_mb: int, others_mb: int | None
) -> None:
    peer = scene.peer("render-1", ONE, TWO)
    submit(scene.ledger, requirement=Requirement("burn", **demand))  # type: ignore[arg-type]
    scene.step()
    order = peer.next_order()
    assert (order.free_mb, order.others_mb) == (free_mb, others_mb)


def test_it_waits_there_for_the_figures_that_sent_it_back_and_is_placed_when_others_let_go(
    scene: CoordinatorScene,
) -> None:
    peer = scene.peer("render-1", ONE)
    job = submit(scene.ledger).id
    scene.step()
    go_back(scene, peer, peer.next_order())

    scene.leader.step(BELL)
    found = scene.job(job)
    assert (found.state, found.attempt, found.failures, found.failed_on) == (JobState.PENDING, 2, 0, frozenset())
    assert peer.queued() == 0  # by its old figures there is room
    hold(scene, peer, FULL)
    waits = scene.job(job).waiting
    assert waits == "waits for a free slot and a GPU of its own: on render-1 others hold 20032 of 24000 MiB"
    hold(scene, peer, 0)
    assert peer.next_order().attempt == 2


def test_it_goes_to_another_worker_at_once(scene: CoordinatorScene) -> None:
    first, second = scene.peer("render-1", ONE), scene.peer("render-2", TWO)
    job = submit(scene.ledger, requirement=Requirement("burn", only_workers=(first.id, second.id))).id
    scene.step()
    given, other = (first, second) if scene.job(job).worker == first.id else (second, first)
    go_back(scene, given, given.next_order())
    assert other.next_order().attempt == 2


def test_its_page_says_why_it_went_back_and_names_no_host(scene: CoordinatorScene) -> None:
    peer = scene.peer("render-1", ONE)
    job = submit(scene.ledger).id
    scene.step()
    go_back(scene, peer, peer.next_order())
    found = attempts.of_job(scene.ledger, job)
    [entry] = tell(found, hosts=False)
    assert found[0].end is AttemptEnd.STOPPED
    assert (entry.sentences, entry.error, entry.worker_name) == ((f"went back before it began: {WORDS}",), None, None)


def test_one_that_others_send_to_and_fro_waits_longer_each_time(scene: CoordinatorScene, database_url: str) -> None:
    """A program that comes and goes: when the pool looks the card is free, when the job is to begin it is not."""
    peer = scene.peer("render-1", ONE)
    job = submit(scene.ledger).id
    scene.step()
    waits: list[float] = []
    for number in range(1, 5):
        assert scene.job(job).attempt == number
        go_back(scene, peer, peer.next_order())
        waits.append(_waits_s(database_url, job))
        hold(scene, peer, 0)
        due(scene, database_url)
    assert waits[0] == 0 and 0 < waits[1] < waits[3] <= 60

    order = peer.next_order()
    peer.claim(order)
    scene.step()
    peer.end(order, "failed", error="of its own", cause="workflow")
    scene.step()
    due(scene, database_url)
    hold(scene, peer, 0)
    go_back(scene, peer, peer.next_order())
    assert scene.job(job).failures == 1
    assert _waits_s(database_url, job) == 0  # an attempt that ran lies between


def _waits_s(database_url: str, job: JobId) -> float:
    """How long it is to wait, as it was written."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT coalesce(extract(epoch FROM jobs.not_before - a.ended_at), 0)::float8 FROM jobs"
            " JOIN attempts a ON a.job_id = jobs.id AND a.number = jobs.attempt - 1 WHERE jobs.id = %s",
            (job,),
        ).fetchone()
    assert row
    return float(row[0])
