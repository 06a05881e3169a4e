"""A workflow on hold, as the leader sees it: one job at a time tries, and when one got through the rest follow."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from app.coordinator.hints import Hint
from app.ledger import holds, jobs
from app.pool.backoff import Backoff
from app.pool.model import Gpu, Job, JobState, Requirement, WaitingFor
from app.pool.protocol import Order
from tests.kit.actors import submit
from tests.kit.coordinator_scene import BELL, CoordinatorScene, begun, end, state
from tests.kit.peer import Peer

LINE = "no licence for burn"
MET: dict[str, Any] = {"cause": "workflow", "then": "hold", "because": LINE}
BIG = Gpu("GPU-1", 0, "A10", 24_000)


@pytest.fixture(autouse=True)
def long_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy host a test may take as long as the real one."""
    monkeypatch.setattr(holds, "RETRY", Backoff(3600.0, 3600.0))


def meet(scene: CoordinatorScene, peer: Peer, order: Order) -> None:
    """A job that runs on this worker meets the hold."""
    end(scene, peer, order, "failed", **MET)


def on_hold(scene: CoordinatorScene, peer: Peer) -> None:
    """The workflow is on hold by a job that nobody wants any more."""
    order = scene.running(peer, requirement=Requirement("burn", only_workers=(peer.id,)))
    meet(scene, peer, order)
    assert jobs.cancel(scene.ledger, order.job)


def past(database_url: str) -> None:
    """The back-off is over; a try has got through by its time alone only after 200 s."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE holds SET until = now(), longest_s = 100")


def given(scene: CoordinatorScene, *some: Job) -> list[Job]:
    """Those of these jobs that do not wait."""
    return [job for job in some if scene.job(job.id).state is not JobState.PENDING]


def test_jobs_of_a_held_workflow_wait_and_say_why_while_others_are_placed(scene: CoordinatorScene) -> None:
    first, second = scene.peer("a"), scene.peer("b")
    order = scene.running(first, requirement=Requirement("burn", only_workers=(first.id,)))
    meet(scene, first, order)
    waits = submit(scene.ledger), submit(scene.ledger, Requirement("burn", tags=("fast",)))
    scene.later(3, first, second)
    assert given(scene, *waits) == []
    assert not scene.leader._dispatch.step(sweep=False)  # nothing was even placed that the ledger then refused
    [hold] = holds.listed(scene.ledger)
    job = scene.job(waits[0].id)
    assert job.waiting == hold.words
    assert job.waiting_for is WaitingFor.HOLD
    assert scene.job(order.job).waiting == job.waiting


def test_one_job_tries_whatever_number_of_workers_is_free_and_of_classes_waits(
    scene: CoordinatorScene, database_url: str
) -> None:
    peers = [scene.peer(name) for name in "abc"]
    on_hold(scene, peers[0])
    some = [submit(scene.ledger, Requirement("burn", prefers=((f"t{number}", 1.0),))) for number in range(3)]
    some += [submit(scene.ledger, owner=owner) for owner in ("bob", "eve")]
    past(database_url)
    assert not scene.leader._dispatch.step(sweep=False)
    scene.later(3, *peers)
    [job] = given(scene, *some)
    peer = next(peer for peer in peers if peer.id == scene.job(job.id).worker)

    end(scene, peer, begun(scene, peer))  # it got through

    scene.later(1, *peers)
    assert len(given(scene, *some)) == 4  # the one that tried, and one for each worker


def test_when_the_try_meets_it_again_the_others_wait_on(scene: CoordinatorScene, database_url: str) -> None:
    first, second = scene.peer("a"), scene.peer("b")
    on_hold(scene, first)
    some = [submit(scene.ledger) for _ in range(3)]
    past(database_url)
    scene.step()
    tries = next(peer for peer in (first, second) if peer.queued())
    meet(scene, tries, begun(scene, tries))
    [hold] = holds.listed(scene.ledger)
    assert hold.met == 2
    scene.later(3, first, second)
    assert given(scene, *some) == []


def test_a_try_that_runs_for_long_lets_the_rest_follow_while_it_runs(
    scene: CoordinatorScene, database_url: str
) -> None:
    first, second = scene.peer("a"), scene.peer("b")
    on_hold(scene, first)
    submit(scene.ledger)
    past(database_url)
    scene.step()
    tries = next(peer for peer in (first, second) if peer.queued())
    long = begun(scene, tries)
    rest = submit(scene.ledger)
    scene.later(2, first, second)
    assert given(scene, rest) == []
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE attempts SET started_at = now() - interval '201 s' WHERE end_word IS NULL")

    scene.later(1, first, second)

    assert given(scene, rest) == [rest]
    assert scene.job(long.job).state is JobState.RUNNING


def test_a_new_leader_on_an_empty_redis_keeps_the_hold(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    on_hold(scene, peer)
    waits = submit(scene.ledger)
    scene.stores.redis.flushall()
    scene.new_leader()
    peer.beat()
    scene.later(3, peer)
    assert given(scene, waits) == []


@pytest.mark.parametrize("how", ["cancelled", "silent"])
def test_a_try_that_is_lost_passes_to_the_next_job(scene: CoordinatorScene, database_url: str, how: str) -> None:
    first, second = scene.peer("a"), scene.peer("b")
    on_hold(scene, first)
    submit(scene.ledger)
    past(database_url)
    scene.step()
    tries, other = (first, second) if first.queued() else (second, first)
    order = begun(scene, tries)
    waits = submit(scene.ledger)
    scene.step()
    assert given(scene, waits) == []
    if how == "cancelled":
        assert jobs.cancel(scene.ledger, order.job)
        scene.later(1, first, second)
        assert given(scene, waits) == [waits]
        return
    tries.silent()
    for _ in range(60):
        scene.later(1, other)
        if other.queued():
            break
    [hold] = holds.listed(scene.ledger)
    assert hold.probe == begun(scene, other).job
    assert other.queued() == 0


def test_what_stands_behind_a_slot_is_taken_back_when_the_hold_begins(scene: CoordinatorScene) -> None:
    peer = scene.peer()
    scene.set_up(peer, queue_depth=1)
    order = scene.running(peer)
    behind = submit(scene.ledger)
    scene.step()
    assert (state(scene, behind), peer.queued()) == ([JobState.ASSIGNED], 1)

    peer.end(order, "failed", **MET)
    scene.leader.step(Hint(reports={peer.id}))

    assert (state(scene, behind), peer.queued()) == ([JobState.PENDING], 0)
    assert scene.job(behind.id).failures == 0


def test_no_worker_is_kept_for_a_large_job_on_hold(scene: CoordinatorScene) -> None:
    peer = scene.wide(2, "a", BIG)
    small = scene.running(peer, requirement=Requirement("burn", min_vram_mb=1_000))
    large = submit(scene.ledger, Requirement("burn", min_vram_mb=23_500))
    scene.later(2, peer)
    assert given(scene, large) == []
    assert scene.leader._dispatch.kept_workers() == {peer.id}
    meet(scene, peer, small)
    scene.later(2, peer)
    assert scene.leader._dispatch.kept_workers() == frozenset()


def test_a_hold_that_a_person_lifts_lets_all_go_at_the_bell(scene: CoordinatorScene) -> None:
    peers = [scene.peer(name) for name in "ab"]
    on_hold(scene, peers[0])
    rest = submit(scene.ledger)
    scene.later(2, *peers)
    assert given(scene, rest) == []
    assert holds.lift(scene.ledger, "burn", "ana")
    scene.leader.step(BELL)
    assert given(scene, rest) == [rest]
