"""A session with NVML: which cards the driver lists, and their figures; None, never 0, where it gives none.

Only a driver that fails as a whole raises. Any call here may hang, so agent.gpus.sampler asks in a process of its own.
A session ends with its process: the library of a driver that was replaced cannot be loaded again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pynvml as nvml  # of the package nvidia-ml-py

from agent.gpus.card import OF_THE_CARD, OF_THE_DRIVER, NvmlCard, Reading, figures_of
from agent.gpus.own_processes import OwnProcesses
from app.pool.model import MIB
from app.pool.protocol import GpuFigures


class DriverGone(Exception):
    """The GPU driver as a whole does not serve; the message says why."""


class Session:
    """The driver's answers from init to the end of the process."""

    def __init__(self) -> None:
        """Find the cards. Raises DriverGone, also where there is no driver at all."""
        self.unreachable: list[str] = []  # cards that the driver counts but does not open, in words
        try:
            nvml.nvmlInit()
            self.driver: str = nvml.nvmlSystemGetDriverVersion()
            cards = [self._card(index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:
            raise DriverGone(_words(error)) from error
        self._cards = [card for card in cards if card]
        self._own = OwnProcesses()
        self.lost = bool(self.unreachable)  # a card was lost; only a new session can see it again

    @property
    def identities(self) -> tuple[GpuFigures, ...]:
        """The cards without their figures."""
        return tuple(card.figures for card in self._cards)

    def figures(self) -> tuple[GpuFigures, ...]:
        """Every card's figures now; those of a lost card are missing, with the reason. Raises DriverGone."""
        try:
            nvml.nvmlDeviceGetCount()  # what fails here is the driver and not a card
            figures = tuple(self._figures(card) for card in self._cards)
        except nvml.NVMLError as error:
            raise DriverGone(_words(error)) from error
        self._own.keep({pid for card in figures for pid in card.pids})
        return figures

    def _card(self, index: int) -> NvmlCard | None:
        reading = Reading()
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
            return figures_of(card, self._own)
        except nvml.NVMLError as error:
            if error.value not in OF_THE_CARD:
                raise
            self.lost = True
            return replace(card.figures, reason=str(error))


def _words(error: Any) -> str:
    if error.value in (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED):
        return f"no NVIDIA driver here ({error})"
    if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "the NVIDIA driver and its library differ in version: restart the host after the driver's update"
    return f"the NVIDIA driver fails: {error}"
