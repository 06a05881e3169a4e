"""A whole agent on a driver of the test's own: others fill a card between the pool's last look at it and the claim."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.pool.model import JobId
from tests.kit.agent_scene import DEADLINE_S, AgentScene, ended
from tests.kit.nvml import Card, Driver
from tests.kit.services import eventually

pytestmark = pytest.mark.timeout(300)  # for a busy host

MB = 46_068
FOREIGN = 4242  # a process that is not the pool's; whether it lives is all the same
WHOLE: dict[str, Any] = {"gpus": ("GPU-1",), "others_mb": 2_048}
SHARE: dict[str, Any] = {"gpus": ("GPU-1",), "free_mb": 8_000}
PAIR: dict[str, Any] = {"gpus": ("GPU-1", "GPU-2"), "others_mb": 2_048}


def card(uuid: str = "GPU-1", others_mb: int = 0, **rest: Any) -> Card:
    held: dict[str, Any] = {"reserved": 400, "used": others_mb, "compute": ((FOREIGN, others_mb),) if others_mb else ()}
    return Card(uuid, total=MB, **{**held, **rest})


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    driver = Driver(tmp_path / "nvml")
    driver.say(card("GPU-1"), card("GPU-2"))
    return driver


@pytest.fixture
def pool(redis_url: str, rq_url: str, tmp_path: Path, driver: Driver) -> Iterator[AgentScene]:
    """An agent with both cards, which beats when something has changed, and else not."""
    with AgentScene(redis_url, rq_url, tmp_path, interval_ms=300_000) as pool:
        for _ in range(5):
            agent = pool.working(**driver.environ, MUSTER_GPUS="GPU-1,GPU-2", MUSTER_SLOTS="2")
            if len(pool.offers[-1].gpus) == 2:  # a busy host's driver may not answer in time for a join
                break
            agent.kill()
            ended(agent)
        eventually(lambda: (beat := pool.beat()) and beat.gpus[1].memory.free, DEADLINE_S)
        yield pool


def others_in(pool: AgentScene) -> list[int | None]:
    """What the beat says that others hold of each card."""
    beat = pool.beat()
    return [gpu.memory.others for gpu in beat.gpus] if beat else []


def went_back(pool: AgentScene, job: JobId) -> str:
    """Why it did; it has asked for nothing and left nothing."""
    end = pool.until("end", job, DEADLINE_S)
    assert (end.end, end.cause) == ("stopped", "no room")
    assert not pool.of("claim", job)
    eventually(lambda: not pool.listed() and (beat := pool.beat()) and beat.free_slots == 2, DEADLINE_S)
    assert not pool.processes(job)
    return end.error or ""


def test_what_others_filled_since_goes_back_in_words_and_the_beat_says_so_at_once(
    pool: AgentScene, driver: Driver
) -> None:
    driver.say(card("GPU-1", 45_000), card("GPU-2"))
    whole = went_back(pool, pool.put("quick", **WHOLE))
    assert whole == "GPU 0 has 668 MiB free, others hold 45000; a whole card was promised"
    assert others_in(pool) == [45_000, 0]
    assert went_back(pool, pool.put("quick", **SHARE)).endswith("8000 MiB were promised")

    driver.say(card("GPU-1"), card("GPU-2"))
    assert pool.until("end", pool.put("quick", **WHOLE), DEADLINE_S).end == "succeeded"
    assert pool.until("end", pool.put("quick", **SHARE), DEADLINE_S).end == "succeeded"


def test_of_two_cards_the_second_may_be_the_full_one(pool: AgentScene, driver: Driver) -> None:
    driver.say(card("GPU-1", 1_000), card("GPU-2", 9_000))
    assert went_back(pool, pool.put("quick", **PAIR)).startswith("GPU 1 has 36668 MiB free, others hold 9000;")
    driver.say(card("GPU-1", 1_000), card("GPU-2", 1_000))
    assert pool.until("end", pool.put("quick", **PAIR), DEADLINE_S).end == "succeeded"


def test_what_holds_no_card_claims_whatever_others_hold(pool: AgentScene, driver: Driver) -> None:
    driver.say(card("GPU-1", 45_000), card("GPU-2", 45_000))
    assert pool.until("end", pool.put("quick", gpus=("GPU-1",)), DEADLINE_S).end == "succeeded"
    assert pool.until("end", pool.put("quick"), DEADLINE_S).end == "succeeded"


def test_a_driver_that_hangs_or_goes_keeps_no_attempt_from_its_claim(pool: AgentScene, driver: Driver) -> None:
    driver.say(card("GPU-1", 45_000, hangs=("nvmlDeviceGetMemoryInfo_v2",)), card("GPU-2"))
    assert pool.until("end", pool.put("quick", **WHOLE), DEADLINE_S).end == "succeeded"
    driver.vanish()
    assert pool.until("end", pool.put("quick", **WHOLE), DEADLINE_S).end == "succeeded"


def test_memory_of_our_own_jobs_is_not_others_also_after_their_death(pool: AgentScene, driver: Driver) -> None:
    """The driver lists a dead process, and its memory as used, for a while; where it lists none, nobody can tell."""
    first = pool.running("polite", **SHARE)
    [pid] = pool.processes(first)
    held = card("GPU-1", used=30_000, compute=((pid, 30_000),))
    driver.say(held, card("GPU-2"))
    eventually(lambda: _ours(pool) == 30_000, DEADLINE_S)
    beside = pool.put("quick", gpus=("GPU-1",), free_mb=9_000)
    assert pool.until("end", beside, DEADLINE_S).end == "succeeded"

    os.kill(pid, 9)
    pool.until("end", first, DEADLINE_S)
    again = pool.put("quick", **WHOLE)
    assert pool.until("end", again, DEADLINE_S).end == "succeeded"


def _ours(pool: AgentScene) -> int | None:
    pool.ring()
    beat = pool.beat()
    return beat.gpus[0].memory.ours if beat else None
