"""When a slot is offered again that a card had not let go of, and when figures of a card have come."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from agent.gpus.inventory import Inventory
from agent.gpus.load import LISTED_S, HostLoad
from app.pool.model import Gpu, JobId, new_id
from app.pool.protocol import AttemptRef
from tests.kit.nvml import Card, Driver
from tests.kit.services import eventually

CARD = Gpu("GPU-1", 0, "NVIDIA Test", 16384)


@pytest.fixture
def ref() -> AttemptRef:
    return AttemptRef(JobId(new_id()), 1, slot=0)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One of the attempt's: we are its guard."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def load(driver: Driver) -> Iterator[HostLoad]:
    load = HostLoad(Inventory((CARD,)))
    yield load
    load.stop()


def stepped(load: HostLoad, *refs: AttemptRef) -> Callable[[], bool]:
    """Step a second on, whatever the clock says, and tell whether the slot is held."""

    def step() -> bool:
        load._due = 0.0
        load.step(time.monotonic(), refs, dict.fromkeys(refs, os.getpid()))
        return load.holds(0)

    return step


def test_a_slot_is_held_until_the_card_lets_go_of_its_last_attempt(
    driver: Driver, load: HostLoad, ref: AttemptRef, process: subprocess.Popen[bytes]
) -> None:
    driver.say(Card(CARD.uuid, compute=((process.pid, 100), (1, 50))))
    eventually(stepped(load, ref))
    assert stepped(load)()
    driver.say(Card(CARD.uuid, compute=((1, 50),)))
    eventually(lambda: not stepped(load)())


def test_a_slot_is_offered_after_a_while_though_the_card_still_lists_a_process(
    driver: Driver, load: HostLoad, ref: AttemptRef, process: subprocess.Popen[bytes]
) -> None:
    driver.say(Card(CARD.uuid, compute=((process.pid, 100),)))
    eventually(stepped(load, ref))
    for held in load._held.values():
        held.there_at -= LISTED_S
    assert not stepped(load)()


def test_it_tells_once_that_figures_came_and_again_when_they_come_back(driver: Driver, load: HostLoad) -> None:
    driver.say(Card(CARD.uuid), hangs=("nvmlDeviceGetMemoryInfo_v2",))
    assert not stepped_came(load)
    driver.say(Card(CARD.uuid))
    eventually(lambda: stepped_came(load))
    assert not stepped_came(load)

    driver.vanish()
    eventually(lambda: not stepped_came(load) and load.figures(time.monotonic(), 1)["gpu_reason"])
    driver.say(Card(CARD.uuid))
    eventually(lambda: stepped_came(load))


def stepped_came(load: HostLoad) -> bool:
    """Step a second on, whatever the clock says, and tell whether figures came."""
    load._due = 0.0
    return load.step(time.monotonic(), (), {})


def test_it_tells_that_others_took_much_memory_or_gave_it_back_until_a_beat_has_said_so(
    driver: Driver, load: HostLoad
) -> None:
    driver.say(Card(CARD.uuid))
    eventually(lambda: stepped_came(load))
    load.figures(time.monotonic(), 1)
    driver.say(Card(CARD.uuid, used=8000))
    eventually(lambda: stepped_came(load))
    load.figures(time.monotonic(), 1)
    assert not stepped_came(load)

    driver.say(Card(CARD.uuid, used=7500))
    eventually(lambda: load.figures(time.monotonic(), 1)["gpus"][0]["memory"]["others"] == 7500 or stepped_came(load))
    driver.say(Card(CARD.uuid, used=1000))
    eventually(lambda: stepped_came(load))
    assert stepped_came(load)
    load.figures(time.monotonic(), 1)
    assert not stepped_came(load)


def test_where_the_driver_lists_no_processes_all_that_is_in_use_counts_as_others(
    driver: Driver, load: HostLoad
) -> None:
    unlisted = {f"nvmlDeviceGetComputeRunningProcesses_v{version}": 3 for version in (2, 3)}  # not supported
    driver.say(Card(CARD.uuid, used=8000, errors=unlisted))
    eventually(lambda: stepped_came(load))
    load.figures(time.monotonic(), 1)
    assert not stepped_came(load)
    driver.say(Card(CARD.uuid, errors=unlisted))
    eventually(lambda: stepped_came(load))


def test_what_others_took_is_told_also_where_a_pulse_has_the_figures_before_the_next_step(
    driver: Driver, load: HostLoad
) -> None:
    driver.say(Card(CARD.uuid))
    eventually(lambda: stepped_came(load))
    load.figures(time.monotonic(), 1)
    driver.say(Card(CARD.uuid, used=8000))
    eventually(lambda: load.hear(time.monotonic()))
    load.figures(time.monotonic(), 1)
    assert not load.hear(time.monotonic())
