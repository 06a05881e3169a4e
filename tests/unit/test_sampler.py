"""The sampler's process and main's reading of it: figures come, go missing and come back, and nobody waits."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pynvml
import pytest

from agent.gpus.inventory import BACKOFF, HUNG_S, SamplerReader
from app.pool.model import Gpu
from app.pool.protocol import GpuFigures
from tests.kit.nvml import Card, Driver

DEADLINE_S = 30.0  # for a busy computer; every wait ends with its event
ONE = Gpu("GPU-1", 0, "NVIDIA Test", 16384)
TWO = Gpu("GPU-2", 1, "NVIDIA Test", 16384)


@pytest.fixture
def start() -> Iterator[Callable[..., SamplerReader]]:
    readers: list[SamplerReader] = []

    def started(*cards: Gpu) -> SamplerReader:
        readers.append(SamplerReader(cards))
        return readers[-1]

    yield started
    for reader in readers:
        reader.stop()


def until(
    reader: SamplerReader, there: Callable[[GpuFigures], bool], ahead_s: float = 0, over_s: float = 0
) -> GpuFigures:
    """Step until the first card's figures are so; `ahead_s` moves the reader's clock."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        now = time.monotonic() + ahead_s
        reader.step(now)
        figures = reader.figures(now, over_s)[0][0]
        if there(figures):
            return figures
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_S} s; the last were {figures}")


def measured(figures: GpuFigures) -> bool:
    return figures.utilisation is not None


def sampler_pid(reader: SamplerReader) -> int:
    assert reader._sampler is not None
    return reader._sampler.process.pid


def test_figures_follow_the_card_and_utilisation_is_the_mean(
    driver: Driver, start: Callable[..., SamplerReader]
) -> None:
    driver.say(Card("GPU-1", utilisation=20))
    reader = start(ONE)
    assert until(reader, measured).utilisation == 0.2

    driver.say(Card("GPU-1", utilisation=80, temperature=70))
    found = until(reader, lambda figures: figures.temperature_c == 70, over_s=1000)
    assert 0.2 < (found.utilisation or 0) < 0.8
    assert reader.figures(time.monotonic(), over_s=0)[0][0].utilisation == 0.8


def test_a_card_has_its_entry_before_and_without_figures(driver: Driver, start: Callable[..., SamplerReader]) -> None:
    driver.say(Card("GPU-1"))
    reader = start(ONE, TWO)
    assert [card.uuid for card in reader.figures(time.monotonic(), 1)[0]] == ["GPU-1", "GPU-2"]

    until(reader, measured)
    assert reader.figures(time.monotonic(), 1)[0][1] == GpuFigures(
        "GPU-2", 1, "NVIDIA Test", 16384, reason="the driver does not list this card"
    )


def test_memory_of_a_dying_process_stays_ours_until_the_card_lets_go_of_it(
    driver: Driver, start: Callable[..., SamplerReader]
) -> None:
    ours = subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={**os.environ, "MUSTER_WORKER": "w1"})
    with ours:
        driver.say(Card("GPU-1", used=100, compute=((ours.pid, 100),)))
        reader = start(ONE)
        until(reader, lambda figures: figures.memory.ours == 100)

        ours.kill()
        os.waitid(os.P_PID, ours.pid, os.WEXITED | os.WNOWAIT)
        driver.say(Card("GPU-1", used=100, compute=((ours.pid, 100),), temperature=41))
        assert until(reader, lambda figures: figures.temperature_c == 41).memory.ours == 100
    driver.say(Card("GPU-1", used=100, compute=((ours.pid, 100),), temperature=42))
    assert until(reader, lambda figures: figures.temperature_c == 42).memory.ours == 100

    driver.say(Card("GPU-1", used=100, temperature=43))
    assert until(reader, lambda figures: figures.temperature_c == 43).memory.others == 100


def test_a_driver_that_hangs_delays_nobody_and_its_figures_go_missing(
    driver: Driver, start: Callable[..., SamplerReader]
) -> None:
    driver.say(Card("GPU-1"))
    reader = start(ONE)
    until(reader, measured)
    first = sampler_pid(reader)

    driver.say(Card("GPU-1", hangs=("nvmlDeviceGetPowerUsage",)))
    silent = until(reader, lambda figures: not measured(figures))
    assert re.fullmatch(r"no figures for \d+ s: the GPU driver does not answer", silent.reason or "")
    assert reader.figures(time.monotonic(), 1)[1] == silent.reason

    driver.say(Card("GPU-1"))
    until(reader, measured)
    assert sampler_pid(reader) == first  # a driver that answers again is not asked by a new process


def test_a_sampler_that_stays_hung_is_killed_and_replaced(driver: Driver, start: Callable[..., SamplerReader]) -> None:
    driver.say(Card("GPU-1"), hangs=("nvmlInitWithFlags",))
    reader = start(ONE)
    reader.step(time.monotonic())
    first = sampler_pid(reader)
    reader.step(time.monotonic() + HUNG_S - 1)
    os.kill(first, 0)  # still there

    os.kill(first, signal.SIGSTOP)  # and so ill that only SIGKILL ends it
    driver.say(Card("GPU-1"))
    ahead_s = HUNG_S + 1
    until(reader, lambda _: reader._sampler is None, ahead_s)
    until(reader, lambda _: reader._sampler is not None, ahead_s)
    until(reader, measured)
    assert sampler_pid(reader) != first


def test_figures_come_back_with_the_driver(driver: Driver, start: Callable[..., SamplerReader]) -> None:
    driver.say(Card("GPU-1"))
    reader = start(ONE)
    until(reader, measured)

    driver.vanish()
    gone = until(reader, lambda figures: not measured(figures))
    assert gone.reason == "the NVIDIA driver fails: Unknown Error"
    assert (gone.uuid, gone.vram_mb) == ("GPU-1", 16384)
    until(reader, lambda figures: figures.reason == "no NVIDIA driver here (Driver Not Loaded)")

    driver.say(Card("GPU-1", utilisation=9))
    assert until(reader, measured).utilisation == 0.09


def test_a_replaced_driver_is_asked_by_a_new_process(driver: Driver, start: Callable[..., SamplerReader]) -> None:
    driver.say(Card("GPU-1"), errors={"nvmlInitWithFlags": pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH})
    reader = start(ONE)
    found = until(reader, lambda figures: "differ in version" in (figures.reason or ""))
    assert "restart the host" in (found.reason or "")

    driver.say(Card("GPU-1"))  # the stand-in, as the real library, never forgives in the same process
    until(reader, measured)


def test_a_killed_sampler_is_replaced(driver: Driver, start: Callable[..., SamplerReader]) -> None:
    driver.say(Card("GPU-1"))
    reader = start(ONE)
    until(reader, measured)
    first = sampler_pid(reader)

    os.kill(first, signal.SIGKILL)
    until(reader, lambda _: reader._sampler is not None and sampler_pid(reader) != first)
    until(reader, lambda figures: measured(figures) and figures.reason is None)


def test_samplers_that_fail_again_and_again_are_started_ever_more_seldom(
    driver: Driver, start: Callable[..., SamplerReader]
) -> None:
    reader = start(ONE)  # no driver: each sampler ends at once
    now = time.monotonic()
    waits: list[float] = []
    for _ in range(8):
        reader.step(now)
        assert reader._sampler is not None
        reader._sampler.process.wait(DEADLINE_S)
        reader.step(now)
        assert not reader.pids()
        waits.append(reader._start_at - now)
        now = reader._start_at
    assert waits[0] <= 1.0
    assert all(wait <= BACKOFF.most_s for wait in waits)
    assert all(wait >= 15.0 for wait in waits[5:])


def test_a_worker_without_cards_has_no_sampler(start: Callable[..., SamplerReader]) -> None:
    reader = start()
    reader.step(time.monotonic())

    assert reader._sampler is None
    assert reader.figures(time.monotonic(), 1) == ((), None)


def test_a_session_with_a_lost_card_ends_after_a_while_so_that_the_next_may_find_it(driver: Driver) -> None:
    driver.say(Card("GPU-1", errors={"nvmlDeviceGetUtilizationRates": 15}), Card("GPU-2"))
    program = "import os; from agent.gpus import sampler; sampler.LOST_S = 0.5; sampler.main(os.getppid(), once=False)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=DEADLINE_S)

    first = json.loads(done.stdout.splitlines()[0])
    assert [card["reason"] for card in first["gpus"]] == ["GPU is lost", None]


def test_a_sampler_ends_with_its_parent_also_inside_a_hanging_call(driver: Driver) -> None:
    driver.say(Card("GPU-1"), hangs=("nvmlDeviceGetCount_v2",))
    program = (
        "import subprocess, sys; from agent.gpus.sampler import command; "
        "child = subprocess.Popen(command()); print(child.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with os.fdopen(os.pidfd_open(int(parent.stdout.readline()))) as sampler, parent:
        parent.kill()
        assert _ended(sampler.fileno())


def _ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], DEADLINE_S)[0])
