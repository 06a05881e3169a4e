"""What is asked of NVML and what comes of its errors: a real pynvml over the stand-in driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pynvml
import pytest

from agent.gpus import inventory as gpus
from agent.gpus.inventory import Inventory, inventory
from agent.gpus.own_processes import OwnProcesses
from agent.processes import environment_of, started_at
from app.pool.codec import from_plain
from app.pool.model import Gpu
from app.pool.protocol import GpuFigures, Memory
from tests.kit.nvml import Card, Driver
from tests.kit.services import eventually

DEADLINE_S = 30.0  # for a busy computer
ASK = """
import json
from agent.gpus.nvml import DriverGone, Session
from app.pool.codec import plain
try:
    session = Session()
    print(json.dumps({"gpus": plain(session.figures()), "lost": session.lost, "unreachable": session.unreachable}))
except DriverGone as gone:
    print(json.dumps({"gone": str(gone)}))
"""
ONE = Gpu("GPU-1", 0, "NVIDIA Test", 16384)
TWO = Gpu("GPU-2", 1, "NVIDIA Test", 16384)
OF_THE_DRIVER = (1, 9, 12, 18)  # uninitialized, no driver, no library, library of another version
OF_THE_CARD = (15, 16)  # lost, reset required
OTHER_ERRORS = sorted({*range(2, 31), 999} - {*OF_THE_DRIVER, *OF_THE_CARD, 3, 13, 25})
FIGURES: dict[str, tuple[str, dict[str, Any]]] = {
    "nvmlDeviceGetMemoryInfo_v2": ("memory", {"memory": Memory(), "vram_mb": None}),
    "nvmlDeviceGetUtilizationRates": ("utilisation", {"utilisation": None}),
    "nvmlDeviceGetTemperatureV": ("temperature", {"temperature_c": None}),
    "nvmlDeviceGetPowerUsage": ("power", {"power_w": None}),
    "nvmlDeviceGetClockInfo": ("clock, clock", {"sm_clock_mhz": None, "memory_clock_mhz": None}),
    "nvmlDeviceGetComputeRunningProcesses_v3": ("processes", {"memory": Memory(free=16284)}),
    "nvmlDeviceGetGraphicsRunningProcesses_v3": ("graphics processes", {}),
}


@pytest.fixture
def process() -> Iterator[Callable[..., int]]:
    """Starts processes with some environment, to be listed on a card."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(**environ: str) -> int:
        started.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={**os.environ, **environ}))
        pid = started[-1].pid
        entries = {f"{name}={value}".encode() for name, value in environ.items()}
        # The kernel fills it in a moment after exec.
        eventually(lambda: environment_of(pid) and entries <= set(environment_of(pid)))
        return pid

    yield start_one
    for each in started:
        each.communicate()


def ask() -> tuple[GpuFigures, ...]:
    return tuple(from_plain(GpuFigures, each) for each in answer()["gpus"])


def answer() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_card_has_its_own_figures(driver: Driver) -> None:
    driver.say(
        Card("GPU-1", name="NVIDIA H200", total=1000, reserved=100, used=300, utilisation=55, temperature=61),
        Card("GPU-2", total=2000, milliwatts=123_400, clocks=(1980, 2619), compute=((1, 0),)),
    )

    assert ask() == (
        GpuFigures("GPU-1", 0, "NVIDIA H200", 1000, 0.55, Memory(0, 300, 600), 61, 50.0, 1410, 1593),
        GpuFigures("GPU-2", 1, "NVIDIA Test", 2000, 0.0, Memory(0, 0, 2000), 40, 123.4, 1980, 2619, pids=(1,)),
    )


def test_a_card_is_never_more_than_busy(driver: Driver) -> None:
    driver.say(Card("GPU-1", utilisation=255))

    assert ask()[0].utilisation == 1.0


def test_what_a_card_does_not_support_is_missing_without_a_reason(driver: Driver) -> None:
    driver.say(Card("GPU-1", errors={"*": pynvml.NVML_ERROR_NOT_SUPPORTED, "nvmlDeviceGetHandleByIndex_v2": 0}))
    assert answer()["unreachable"] == ["GPU 0: Not Supported"]  # without a UUID there is no card to speak of

    driver.say(Card("GPU-1", errors=dict.fromkeys(FIGURES, pynvml.NVML_ERROR_NOT_SUPPORTED)))
    assert ask() == (GpuFigures("GPU-1", 0, "NVIDIA Test"),)


def test_a_figure_that_fails_is_missing_with_its_reason_and_the_others_stay(driver: Driver) -> None:
    driver.say(*(Card(f"GPU-{name}", used=100, errors={name: 4}) for name in FIGURES))
    whole = GpuFigures("", 0, "NVIDIA Test", 16384, 0.0, Memory(0, 100, 16284), 40, 50.0, 1410, 1593)

    for found, (name, (what, missing)) in zip(ask(), FIGURES.items(), strict=True):
        named = {"uuid": f"GPU-{name}", "index": found.index, "reason": f"Insufficient Permissions ({what})"}
        assert found == GpuFigures(**{**vars(whole), **named, **missing})


@pytest.mark.parametrize("codes", [OTHER_ERRORS[:12], OTHER_ERRORS[12:]])
def test_any_error_of_one_figure_takes_only_that_figure(driver: Driver, codes: list[int]) -> None:
    driver.say(*(Card(f"GPU-{code}", errors={"nvmlDeviceGetPowerUsage": code}) for code in codes))

    for found in ask():
        assert (found.power_w, found.temperature_c) == (None, 40)
        assert (found.reason or "").endswith(" (power)")


@pytest.mark.parametrize("call", ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2", "nvmlDeviceGetTemperatureV"])
@pytest.mark.parametrize("code", OF_THE_DRIVER)
def test_an_error_of_the_driver_as_a_whole_is_said_so(driver: Driver, call: str, code: int) -> None:
    driver.say(Card("GPU-1"), errors={call: code})

    assert "NVIDIA driver" in str(answer()["gone"])


def test_an_older_driver_is_asked_in_the_older_way(driver: Driver) -> None:
    newer = [name for name in FIGURES if name[-1] in "23V"]
    driver.say(Card("GPU-1", reserved=100, used=50, compute=((1, 20),), errors=dict.fromkeys(newer, 13)))

    (found,) = ask()
    assert (found.temperature_c, found.memory, found.pids) == (40, Memory(0, 150, 16234), (1,))
    assert found.reason is None


@pytest.mark.parametrize("code", OF_THE_CARD)
def test_a_lost_card_says_so_and_the_others_go_on(driver: Driver, code: int) -> None:
    driver.say(Card("GPU-1", errors={"nvmlDeviceGetUtilizationRates": code}), Card("GPU-2", utilisation=7))

    lost, well = ask()
    assert lost == GpuFigures("GPU-1", 0, "NVIDIA Test", 16384, reason=str(pynvml.NVMLError(code)))
    assert well.utilisation == 0.07


def test_a_card_that_cannot_be_opened_does_not_take_the_others_along(driver: Driver) -> None:
    driver.say(Card("GPU-1", errors={"nvmlDeviceGetHandleByIndex_v2": 15}), Card("GPU-2"))

    assert inventory() == Inventory((TWO,), "570.86.15", "GPU 0: GPU is lost")


def test_memory_of_attempts_is_ours_and_all_else_is_others(driver: Driver, process: Callable[..., int]) -> None:
    ours, drawing, foreign = process(MUSTER_WORKER="j1"), process(MUSTER_WORKER="j2"), process(NO_MUSTER_WORKER="x")
    nobody = 2**22 + 1  # above the largest pid: one of another PID namespace
    driver.say(
        Card(
            "GPU-1",
            total=1000,
            used=700,
            compute=((ours, 100), (foreign, 200), (nobody, None)),
            graphics=((ours, 100), (drawing, 50)),
        )
    )

    (found,) = ask()
    assert found.memory == Memory(ours=150, others=550, free=300)
    assert found.pids == tuple(sorted((ours, drawing, foreign, nobody)))


def test_a_process_that_has_the_pid_of_one_of_ours_is_not_ours(
    process: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = OwnProcesses()
    pid = process(MUSTER_WORKER="j1")
    assert ours.has(pid)

    monkeypatch.setattr("agent.gpus.own_processes.environment_of", lambda pid: set())
    assert ours.has(pid)
    monkeypatch.setattr("agent.gpus.own_processes.started_at", lambda pid: (started_at(pid) or 0) + 1)
    assert not ours.has(pid)


def test_a_process_that_the_driver_no_longer_lists_is_forgotten(process: Callable[..., int]) -> None:
    ours = OwnProcesses()
    pid, other = process(MUSTER_WORKER="j1"), process(MUSTER_WORKER="j2")
    assert ours.has(pid) and ours.has(other)

    ours.keep({pid})
    assert ours._seen.keys() == {pid}


def test_what_our_processes_use_is_unknown_when_the_driver_does_not_say(
    driver: Driver, process: Callable[..., int]
) -> None:
    driver.say(Card("GPU-1", total=1000, used=700, compute=((process(MUSTER_WORKER="j1"), None),)))

    assert ask()[0].memory == Memory(ours=None, others=None, free=300)


def test_the_inventory_names_the_cards_and_the_driver(driver: Driver) -> None:
    driver.say(Card("GPU-1"), Card("GPU-2"), driver="550.54.15")

    assert inventory() == Inventory((ONE, TWO), "550.54.15")


def test_a_host_without_a_driver_has_no_cards_and_a_reason(driver: Driver) -> None:
    assert inventory() == Inventory(reason="no NVIDIA driver here (Driver Not Loaded)")


def test_the_inventory_of_a_hanging_driver_ends_in_time(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.say(Card("GPU-1"), hangs=("nvmlInitWithFlags",))
    monkeypatch.setattr(gpus, "INVENTORY_S", 0.5)
    begun = time.monotonic()

    assert inventory() == Inventory(reason="no GPUs, because the GPU driver did not answer within 0.5 s")
    assert time.monotonic() - begun < DEADLINE_S


def test_the_inventory_is_printed_as_json(driver: Driver) -> None:
    driver.say(Card("GPU-1"))
    printed = subprocess.run([sys.executable, "-m", "agent.gpus.inventory"], capture_output=True, check=True).stdout

    assert from_plain(Inventory, json.loads(printed)) == Inventory((ONE,), "570.86.15")
