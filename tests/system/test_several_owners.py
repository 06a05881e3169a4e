"""A worker that the pool has paused gets nothing more from the same step on."""

from __future__ import annotations

from app.coordinator.hints import Hint
from app.ledger import investigations
from app.ledger.registry import pauses, workers
from app.pool.model import Intent, JobState, Requirement
from tests.kit.actors import submit
from tests.kit.coordinator_scene import CoordinatorScene


def test_the_step_that_hears_of_the_third_owners_error_gives_the_worker_nothing_more(scene: CoordinatorScene) -> None:
    bad, *_ = [scene.peer(f"render-{number}") for number in range(5)]
    needs = Requirement("burn", only_workers=(bad.id,))
    for owner in ("ana", "ben", "cem"):
        order = scene.running(bad, requirement=needs, owner=owner, max_failures=1)
        bad.end(order, "failed", cause="workflow", error="no such frame")
    waits = submit(scene.ledger, needs)

    scene.leader.step(Hint(reports={bad.id}))

    found = workers.find(scene.ledger, bad.id)
    assert found is not None and found.paused_by == "pool"
    assert scene.job(waits.id).state is JobState.PENDING
    assert bad.id in investigations.open_of(scene.ledger, [bad.id])
    assert pauses.set_intents(scene.ledger, [bad.id], Intent.ACTIVE)
    scene.step()
    assert scene.job(waits.id).worker == bad.id
