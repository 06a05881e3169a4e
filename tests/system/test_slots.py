"""A slot process on a real Redis that goes away, and comes back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.services import eventually
from tests.kit.slot_scene import SlotScene


@pytest.fixture
def main(rq_url: str, tmp_path: Path) -> Iterator[SlotScene]:
    with SlotScene(rq_url, tmp_path) as main:
        main.told("ready")
        yield main


def test_a_slot_whose_connections_are_cut_goes_on_with_the_next_envelope(main: SlotScene) -> None:
    for _ in range(3):
        main.redis.client_kill_filter(_type="normal", skipme=True)
        main.redis.client_kill_filter(_type="pubsub", skipme=True)
        main.put(main.order("quick"))
        line = main.guard().claimed()
        assert line.gone() and line.end and line.end["end"] == "succeeded"
    assert main.slot.poll() is None


def test_a_workflow_runs_on_while_the_slots_redis_does_not_answer(main: SlotScene) -> None:
    line = main.running("polite")
    main.redis.client_pause(20_000, all=False)
    line.tell("stop", why="checkpoint", grace_s=20)
    assert line.gone() and line.end and line.end["end"] == "stopped"
    main.redis.client_unpause()


def test_a_slot_leaves_though_redis_does_not_answer(main: SlotScene) -> None:
    main.redis.client_pause(20_000, all=False)
    main.slot.send_signal(signal.SIGTERM)
    code = main.slot.wait(timeout=5)
    main.redis.client_unpause()
    assert code == -signal.SIGALRM  # its farewell to Redis was cut short


def test_a_slot_does_not_keep_what_rq_remembers_of_the_past(main: SlotScene) -> None:
    done = main.order("quick")
    put = main.put(done, result_ttl=1)
    assert main.guard().claimed().gone()
    main.told("ready")
    eventually(lambda: not main.redis.exists(put.key))
    main.slot.send_signal(signal.SIGTERM)
    assert main.slot.wait(timeout=5) == 0
    main.restart()
    main.told("ready")
    eventually(lambda: main.queue.finished_job_registry.get_job_count(cleanup=False) == 0)
