"""What NVML says of this host's cards. A figure that it does not give is None; never 0.

Only a driver that fails as a whole raises. Any call here may hang, so agent.gpus.sampler asks in a process
of its own. A session ends with its process: the library of a replaced driver cannot be loaded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pynvml as nvml  # of the package nvidia-ml-py

from agent.processes import WORKER_VARIABLE, environment_of, started_at
from app.pool.protocol import GpuFigures, Memory

T = TypeVar("T")
MIB = 1024 * 1024

OF_THE_DRIVER = (
    nvml.NVML_ERROR_UNINITIALIZED,
    nvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    nvml.NVML_ERROR_DRIVER_NOT_LOADED,
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
)
OF_THE_CARD = (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED)
OF_AN_OLDER_DRIVER = (nvml.NVML_ERROR_FUNCTION_NOT_FOUND, nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)


class DriverGone(Exception):
    """The GPU driver as a whole does not serve; the message says why."""


@dataclass(frozen=True)
class NvmlCard:
    """A card that the driver listed: what it is, and NVML's handle of it."""

    figures: GpuFigures
    handle: Any


class Session:
    """The driver's answers from init to the end of the process."""

    def __init__(self) -> None:
        """Find the cards. Raises DriverGone, also where there is no driver at all."""
        self.unreachable: list[str] = []  # cards that the driver counts but does not open, in words
        try:
            nvml.nvmlInit()
            self.driver: str = nvml.nvmlSystemGetDriverVersion()
            found = [self._card(index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:
            raise DriverGone(_words(error)) from error
        self._cards = [card for card in found if card]
        self._ours = Ours()
        self.lost = bool(self.unreachable)  # a card was lost; only a new session can see it again

    @property
    def identities(self) -> tuple[GpuFigures, ...]:
        """The cards without their figures."""
        return tuple(card.figures for card in self._cards)

    def figures(self) -> tuple[GpuFigures, ...]:
        """Every card's figures now; those of a lost card are missing, with the reason. Raises DriverGone."""
        try:
            nvml.nvmlDeviceGetCount()  # what fails here is the driver and not a card
            found = tuple(self._figures(card) for card in self._cards)
        except nvml.NVMLError as error:
            raise DriverGone(_words(error)) from error
        self._ours.keep({pid for figures in found for pid in figures.pids})
        return found

    def _card(self, index: int) -> NvmlCard | None:
        reading = _Reading()
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = nvml.nvmlDeviceGetUUID(handle)
            model = reading.ask("model", lambda: nvml.nvmlDeviceGetName(handle)) or ""
            memory = reading.memory(handle)
        except nvml.NVMLError as error:
            if error.value in OF_THE_DRIVER:
                raise
            self.unreachable.append(f"GPU {index}: {error}")
            return None
        return NvmlCard(GpuFigures(uuid, index, model, memory and memory.total // MIB), handle)

    def _figures(self, card: NvmlCard) -> GpuFigures:
        try:
            return _figures(card, self._ours)
        except nvml.NVMLError as error:
            if error.value not in OF_THE_CARD:
                raise
            self.lost = True
            return replace(card.figures, reason=str(error))


class Ours:
    """Which of the listed processes belong to attempts; those of another user or PID namespace do not.

    A dying process loses its environment before the driver has given back its memory, so each that was
    seen to be ours is remembered for as long as the driver lists it.
    """

    def __init__(self) -> None:
        self._seen: dict[int, int | None] = {}  # pid -> when it started

    def has(self, pid: int) -> bool:
        """Whether the process belongs to an attempt, or did while it lived."""
        started = started_at(pid)
        if any(entry.startswith(f"{WORKER_VARIABLE}=".encode()) for entry in environment_of(pid)):
            self._seen[pid] = started
            return True
        return pid in self._seen and started in (None, self._seen[pid])

    def keep(self, listed: Set[int]) -> None:
        """Forget all but these."""
        self._seen = {pid: started for pid, started in self._seen.items() if pid in listed}


class _Reading:
    """Asks a card for one figure after the other and keeps why some are missing."""

    def __init__(self) -> None:
        self._failed: dict[str, list[str]] = {}

    def ask(self, what: str, *calls: Callable[[], T]) -> T | None:
        """The answer of the first call that this driver knows; None when the card does not give it."""
        for call in calls:
            try:
                return call()
            except nvml.NVMLError as error:
                if error.value in OF_AN_OLDER_DRIVER:
                    continue
                if error.value in (*OF_THE_DRIVER, *OF_THE_CARD):
                    raise
                # What a card does not support is no fault: MIG has no utilisation, small cards no power.
                if error.value != nvml.NVML_ERROR_NOT_SUPPORTED:
                    self._failed.setdefault(str(error), []).append(what)
                return None
        return None

    def memory(self, handle: Any) -> Any:
        """NVML's memory structure; the newer one does not count the driver's own share as used."""
        return self.ask(
            "memory",
            lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2),
            lambda: nvml.nvmlDeviceGetMemoryInfo(handle),
        )

    @property
    def reason(self) -> str | None:
        """What was wrong, each fault once, with the figures that it took."""
        return "; ".join(f"{fault} ({', '.join(what)})" for fault, what in self._failed.items()) or None


def _figures(card: NvmlCard, ours: Ours) -> GpuFigures:
    reading, handle = _Reading(), card.handle
    memory = reading.memory(handle)
    used = _processes(reading, handle)
    rates = reading.ask("utilisation", lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    milliwatts = reading.ask("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    return replace(
        card.figures,
        vram_mb=memory.total // MIB if memory else card.figures.vram_mb,
        utilisation=rates and min(1.0, rates.gpu / 100),
        memory=_memory(memory, used, ours),
        temperature_c=_temperature(reading, handle),
        power_w=None if milliwatts is None else milliwatts / 1000,
        sm_clock_mhz=_clock(reading, handle, nvml.NVML_CLOCK_SM),
        memory_clock_mhz=_clock(reading, handle, nvml.NVML_CLOCK_MEM),
        pids=tuple(sorted({pid for pid, *_ in used or ()})),
        reason=reading.reason,
    )


def _temperature(reading: _Reading, handle: Any) -> int | None:
    sensor = nvml.NVML_TEMPERATURE_GPU
    return reading.ask(
        "temperature",
        lambda: nvml.nvmlDeviceGetTemperatureV(handle, sensor),
        lambda: nvml.nvmlDeviceGetTemperature(handle, sensor),
    )


def _clock(reading: _Reading, handle: Any, kind: int) -> int | None:
    return reading.ask("clock", lambda: nvml.nvmlDeviceGetClockInfo(handle, kind))


Used = dict[tuple[int, int, int], int | None]  # (pid, GPU instance, compute instance) -> bytes, None: not known


def _processes(reading: _Reading, handle: Any) -> Used | None:
    """What the processes on the card use; None when the driver does not say who they are."""
    compute = reading.ask(
        "processes",
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses_v3(handle),
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses_v2(handle),
    )
    if compute is None:
        return None
    graphics = reading.ask(
        "graphics processes",
        lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses_v3(handle),
        lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses_v2(handle),
    )
    # A process that computes and draws stands in both lists with the same memory, so it counts once.
    both = (*(graphics or ()), *compute)
    return {(each.pid, each.gpuInstanceId, each.computeInstanceId): each.usedGpuMemory for each in both}


def _memory(memory: Any, used: Used | None, ours: Ours) -> Memory:
    if memory is None:
        return Memory()
    free = memory.free // MIB
    sizes = None if used is None else [size for (pid, *_), size in used.items() if ours.has(pid)]
    if sizes is None or None in sizes:
        return Memory(free=free)
    mine = sum(size or 0 for size in sizes)
    return Memory(mine // MIB, max(0, memory.used - mine) // MIB, free)


def _words(error: Any) -> str:
    if error.value in (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED):
        return f"no NVIDIA driver here ({error})"
    if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "the NVIDIA driver and its library differ in version: restart the host after the driver's update"
    return f"the NVIDIA driver fails: {error}"
