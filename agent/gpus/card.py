"""The figures of one card, asked of NVML one by one: what fails costs its own figure and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pynvml as nvml  # of the package nvidia-ml-py

from agent.gpus.own_processes import OwnProcesses
from app.pool.model import MIB
from app.pool.protocol import GpuFigures, Memory

T = TypeVar("T")

OF_THE_DRIVER = (
    nvml.NVML_ERROR_UNINITIALIZED,
    nvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    nvml.NVML_ERROR_DRIVER_NOT_LOADED,
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
)
OF_THE_CARD = (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED)
OF_AN_OLDER_DRIVER = (nvml.NVML_ERROR_FUNCTION_NOT_FOUND, nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)


@dataclass(frozen=True)
class NvmlCard:
    """A card that the driver listed: what it is, and NVML's handle of it."""

    figures: GpuFigures
    handle: Any


class Reading:
    """One round of questions to a card, which keeps why some figures are missing."""

    def __init__(self) -> None:
        self._failed: dict[str, list[str]] = {}

    def ask(self, what: str, *calls: Callable[[], T]) -> T | None:
        """The answer of the first call that this driver knows; None when the card does not give it.

        Raises NVMLError when the driver or the card as a whole fails.
        """
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
        """The faults in words, each once, with the figures that it cost; None without one."""
        return "; ".join(f"{fault} ({', '.join(what)})" for fault, what in self._failed.items()) or None


def figures_of(card: NvmlCard, own: OwnProcesses) -> GpuFigures:
    """The card's figures now. Raises NVMLError when the driver or the card as a whole fails."""
    reading, handle = Reading(), card.handle
    memory = reading.memory(handle)
    used = _processes(reading, handle)
    rates = reading.ask("utilisation", lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    milliwatts = reading.ask("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    return replace(
        card.figures,
        vram_mb=memory.total // MIB if memory else card.figures.vram_mb,
        utilisation=rates and min(1.0, rates.gpu / 100),
        memory=_memory(memory, used, own),
        temperature_c=_temperature(reading, handle),
        power_w=None if milliwatts is None else milliwatts / 1000,
        sm_clock_mhz=_clock(reading, handle, nvml.NVML_CLOCK_SM),
        memory_clock_mhz=_clock(reading, handle, nvml.NVML_CLOCK_MEM),
        pids=tuple(sorted({pid for pid, *_ in used or ()})),
        reason=reading.reason,
    )


def _temperature(reading: Reading, handle: Any) -> int | None:
    sensor = nvml.NVML_TEMPERATURE_GPU
    return reading.ask(
        "temperature",
        lambda: nvml.nvmlDeviceGetTemperatureV(handle, sensor),
        lambda: nvml.nvmlDeviceGetTemperature(handle, sensor),
    )


def _clock(reading: Reading, handle: Any, kind: int) -> int | None:
    return reading.ask("clock", lambda: nvml.nvmlDeviceGetClockInfo(handle, kind))


Used = dict[tuple[int, int, int], int | None]  # (pid, GPU instance, compute instance) -> bytes, None: not known


def _processes(reading: Reading, handle: Any) -> Used | None:
    """The memory of the processes on the card; None when the driver does not say which they are."""
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
    return {(entry.pid, entry.gpuInstanceId, entry.computeInstanceId): entry.usedGpuMemory for entry in both}


def _memory(memory: Any, used: Used | None, own: OwnProcesses) -> Memory:
    if memory is None:
        return Memory()
    free = memory.free // MIB
    sizes = None if used is None else [size for (pid, *_), size in used.items() if own.has(pid)]
    if sizes is None or None in sizes:
        return Memory(free=free)
    mine = sum(size or 0 for size in sizes)
    return Memory(mine // MIB, max(0, memory.used - mine) // MIB, free)
