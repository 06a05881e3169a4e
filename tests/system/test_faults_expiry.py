"""With the sweep slowed to ten minutes the expiry event alone moves a frozen worker's envelopes."""

from __future__ import annotations

from tests.scene import Scene, scene
from tests.system.test_health import see_envelopes_move

__all__ = ["scene"]  # the fixture


def test_a_frozen_worker_s_envelopes_are_in_another_s_queue_within_a_second_by_the_event_alone(scene: Scene) -> None:
    see_envelopes_move(scene, sweep_s=600.0, events=True)
