"""The host's load: the figures of a beat, and which slots a GPU has not let go of.

The driver may list a dead process, and its memory as used, for a while. A slot is not offered as free while a card
lists a process of its last attempt: the next one would find the memory taken.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.gpus.cpu import Cpu
from agent.gpus.inventory import Inventory, SamplerReader
from agent.processes import ancestors
from app.pool.codec import plain
from app.pool.protocol import AttemptRef, GpuFigures

log = logging.getLogger(__name__)

STEP_S = 1.0
LISTED_S = 30.0  # after which a slot is offered though a card still lists its last attempt
MOVED_MB = 1024  # that others must have taken or given back for a beat out of turn


@dataclass
class Held:
    """The processes of an attempt that a card has listed, and when the attempt was last there."""

    pids: set[int]
    there_at: float


class HostLoad:
    """This host's load. All calls come from main's main thread, with `now` from time.monotonic()."""

    def __init__(self, cards: Inventory) -> None:
        self._sampler = SamplerReader(cards.gpus)
        self._reason = cards.reason
        self._cpu = Cpu()
        self._held: dict[AttemptRef, Held] = {}
        self._known: set[str] = set()  # cards that had figures
        self._others_mb: dict[str, int] = {}  # in the last beat, by card: in use, and not known as ours
        self._due = 0.0

    def pids(self) -> set[int]:
        """The sampler's pid."""
        return self._sampler.pids()

    def fileno(self) -> int:
        return self._sampler.fileno()

    def hear(self, now: float) -> bool:
        """Read the figures that have come; call it when there is something to read.

        True when a beat is worth sending at once, for what others have taken or given back. It is said here because
        the next pulse takes these figures for told, though the beat that tells them may be minutes away.
        """
        self._sampler.hear()
        gpus, _ = self._sampler.figures(now, STEP_S)
        return any(map(self._has_moved, gpus))

    def ask(self, now: float) -> bool:
        """Have the cards measured now; False when no answer is to be expected."""
        return self._sampler.ask(now)

    def measured(self, since: float) -> Sequence[GpuFigures] | None:
        """The newest figures, if they were measured since that moment."""
        return self._sampler.measured(since)

    def step(self, now: float, attempts: Collection[AttemptRef], guards: Mapping[AttemptRef, int]) -> bool:
        """Once a second: keep the sampler going, and see which attempts the cards list.

        `guards` names the living guards' pids, below which an attempt's processes are found.
        True when a beat is worth sending at once: a card has figures that had none, also the first time, or others
        have taken much of its memory, or given back what jobs may wait for.
        """
        if now < self._due:
            return False
        self._due = now + STEP_S
        self._sampler.step(now)
        gpus, _ = self._sampler.figures(now, STEP_S)
        listed = {pid for gpu in gpus for pid in gpu.pids}
        if listed:
            self._note(listed, guards, now)
        self._let_go(listed, attempts, now)
        before, self._known = self._known, {gpu.uuid for gpu in gpus if _measured(gpu)}
        return bool(self._known - before) or any(map(self._has_moved, gpus))

    def figures(self, now: float, over_s: float) -> dict[str, Any]:
        """The figures of a beat: `gpus`, `gpu_reason` and `cpu`; utilisations are means over `over_s` seconds."""
        gpus, reason = self._sampler.figures(now, over_s)
        self._others_mb = {gpu.uuid: _not_ours_mb(gpu) or 0 for gpu in gpus}
        return {"gpus": plain(gpus), "gpu_reason": reason or self._reason, "cpu": self._cpu.use()}

    def holds(self, slot: int) -> bool:
        """True while a card lists a process of this slot's last attempt."""
        return any(ref.slot == slot for ref in self._held)

    def stop(self) -> None:
        """End the sampler."""
        self._sampler.stop()

    def _has_moved(self, gpu: GpuFigures) -> bool:
        others_mb = _not_ours_mb(gpu)
        return others_mb is not None and abs(self._others_mb.get(gpu.uuid, 0) - others_mb) >= MOVED_MB

    def _note(self, listed: set[int], guards: Mapping[AttemptRef, int], now: float) -> None:
        above = {pid: set(ancestors(pid)) for pid in listed}
        for ref, guard in guards.items():
            if pids := {pid for pid in listed if guard in above[pid]}:
                self._held.setdefault(ref, Held(set(), now)).pids |= pids

    def _let_go(self, listed: set[int], attempts: Collection[AttemptRef], now: float) -> None:
        for ref, held in list(self._held.items()):
            if ref in attempts:
                held.there_at = now
            elif not held.pids & listed:
                del self._held[ref]
            elif now > held.there_at + LISTED_S:
                log.warning("slot %d is offered though a GPU lists pids=%s of job=%s", ref.slot, held.pids, ref.job)
                del self._held[ref]


def _not_ours_mb(gpu: GpuFigures) -> int | None:
    """MiB in use by others, and where the driver does not tell who uses what by anybody; None where nobody knows."""
    if gpu.memory.others is not None or gpu.memory.free is None or gpu.vram_mb is None:
        return gpu.memory.others
    return gpu.vram_mb - gpu.memory.free


def _measured(gpu: GpuFigures) -> bool:
    return gpu.memory.free is not None or gpu.utilisation is not None
