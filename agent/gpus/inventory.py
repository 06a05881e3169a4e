"""The GPUs as main sees them: which there are, and their figures.

Child processes ask for both, so that a driver that hangs delays nobody. `python -m agent.gpus.inventory` prints the
inventory as JSON: the server's side, which may not import an agent, asks in this way.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from agent.gpus.sampler import GpuSample, command
from agent.processes import end_child
from app.pool.backoff import Backoff, Outage
from app.pool.codec import from_json, to_json
from app.pool.model import Gpu
from app.pool.protocol import GpuFigures
from app.pool.text import LineBuffer

log = logging.getLogger(__name__)

INVENTORY_S = 5.0  # after which a driver that has not answered counts as ill
FRESH_S = 3.0  # three missed samples
HUNG_S = 30.0  # a hung sampler is replaced no more often than this
BACKOFF = Backoff(1.0, 30.0)  # before the next sampler
SAMPLES = 300  # that are remembered; the longest beat interval in seconds


@dataclass(frozen=True)
class Inventory:
    """The host's cards; `reason` says why there are none, or why some are missing."""

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    reason: str | None = None


def inventory() -> Inventory:
    """Ask the driver for its cards. Returns within INVENTORY_S and a moment, whatever the driver does."""
    child = subprocess.Popen(command(once=True), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        line, _ = child.communicate(timeout=INVENTORY_S)
    except subprocess.TimeoutExpired:
        end_child(child)
        return Inventory(reason=f"no GPUs, because the GPU driver did not answer within {INVENTORY_S:g} s")
    if not line:
        return Inventory(reason=f"no GPUs, because the process that asks for them ended with {child.returncode}")
    sample = from_json(GpuSample, line)
    # 0: a card that shares the host's memory does not name its own; no demand for VRAM matches it.
    gpus = tuple(Gpu(card.uuid, card.index, card.model, card.vram_mb or 0) for card in sample.gpus)
    return Inventory(gpus, sample.driver, sample.reason)


class SamplerReader:
    """The reader keeps a sampler running for these cards and has its newest figures. Nothing here waits.

    All calls come from main's main thread (a sampler ends with the thread that started it), with
    `now` from time.monotonic(). Without cards there is no sampler.
    """

    def __init__(self, gpus: tuple[Gpu, ...]) -> None:
        self._gpus = gpus
        self._pipe, self._samplers_end = os.pipe()  # for one sampler after the other, so that it can be listened to
        os.set_blocking(self._pipe, False)
        self._lines = LineBuffer()
        self._sampler: _Sampler | None = None
        self._samples: deque[GpuSample] = deque(maxlen=SAMPLES)
        self._heard_at = 0.0  # when the running sampler last said something, or was started
        self._figures_at: float | None = None  # of the newest sample with cards, or the first start
        self._start_at = 0.0
        self._fruitless = 0  # samplers in a row that gave no cards
        self._missing = Outage(log, "GPUs", "GPUs: figures again")

    def fileno(self) -> int:
        return self._pipe

    def step(self, now: float) -> None:
        """Read what the sampler said and see that one runs; call it each second."""
        if self._sampler is not None:
            self._watch(self._sampler, now)
        elif self._gpus and now >= self._start_at:
            self._sampler = _Sampler(self._samplers_end)
            self._heard_at = now
            self._figures_at = now if self._figures_at is None else self._figures_at

    def hear(self) -> None:
        """Read what the sampler said; call it when there is something to read."""
        for sample in self._read():
            self._keep(sample)

    def ask(self, now: float) -> bool:
        """Have the sampler ask the cards now; False when no answer is to be expected of it."""
        return self._sampler is not None and not self._silent(now) and self._sampler.ask()

    def measured(self, since: float) -> tuple[GpuFigures, ...] | None:
        """The newest figures of the cards that have any, if they were asked for since that moment."""
        newest = self._samples[-1] if self._samples else None
        return newest.gpus if newest and newest.at >= since else None

    def pids(self) -> set[int]:
        """The sampler's pid: main's own child, which no job left behind."""
        return {self._sampler.process.pid} if self._sampler is not None else set()

    def figures(self, now: float, over_s: float) -> tuple[tuple[GpuFigures, ...], str | None]:
        """Each card's newest figures, utilisation as the mean over `over_s` seconds, and why some are missing.

        Every card has its entry, also one of which nothing is known.
        """
        reason = self._reason(now)
        return tuple(self._card(gpu, now, over_s, reason) for gpu in self._gpus), reason

    def stop(self) -> None:
        """Kill the sampler; it is the last call."""
        if self._sampler is not None:
            self._sampler.end()
            self._sampler = None
        os.close(self._pipe)
        os.close(self._samplers_end)

    def _watch(self, sampler: _Sampler, now: float) -> None:
        ended = sampler.process.poll() is not None  # asked first, so that the reading has its last sample
        self.hear()
        if ended:
            self._bury(sampler, now)
        elif now > self._heard_at + HUNG_S:
            # The next one starts only when this one is dead, so that hanging samplers never pile up.
            sampler.process.kill()
        self._log(now)

    def _read(self) -> Iterator[GpuSample]:
        while chunk := _chunk(self._pipe):
            yield from (from_json(GpuSample, line) for line in self._lines.feed(chunk))

    def _keep(self, sample: GpuSample) -> None:
        self._samples.append(sample)
        self._heard_at = sample.at
        if sample.gpus:
            self._figures_at = sample.at
            self._fruitless = 0

    def _bury(self, sampler: _Sampler, now: float) -> None:
        sampler.end()
        self._lines = LineBuffer()  # it may have died within a line
        self._sampler = None
        self._fruitless += 1
        self._start_at = now + BACKOFF.after(self._fruitless)

    def _reason(self, now: float) -> str | None:
        said = self._samples[-1].reason if self._samples else None
        if self._sampler is not None and self._silent(now):
            return self._figureless(now, "the GPU driver does not answer")
        if said is not None or self._newest(now) is not None or not self._gpus:
            return said
        return self._figureless(now, "the sampler ended" if self._sampler is None else "the GPU driver is being asked")

    def _figureless(self, now: float, why: str) -> str:
        return why if self._figures_at is None else f"no figures for {now - self._figures_at:.0f} s: {why}"

    def _silent(self, now: float) -> bool:
        return now > self._heard_at + FRESH_S

    def _newest(self, now: float) -> GpuSample | None:
        fresh = self._samples and now <= self._samples[-1].at + FRESH_S
        return self._samples[-1] if fresh else None

    def _card(self, gpu: Gpu, now: float, over_s: float, reason: str | None) -> GpuFigures:
        newest = self._newest(now)
        entry = _entry(newest, gpu) if newest else None
        if entry is None:
            reason = reason or "the driver does not list this card"
            return GpuFigures(gpu.uuid, gpu.index, gpu.model, gpu.vram_mb or None, reason=reason)
        if entry.utilisation is None:
            return entry
        return replace(entry, utilisation=self._mean(gpu, now - over_s, entry.utilisation))

    def _mean(self, gpu: Gpu, since: float, newest: float) -> float:
        entries = (_entry(sample, gpu) for sample in self._samples if sample.at >= since)
        values = [entry.utilisation for entry in entries if entry and entry.utilisation is not None]
        return sum(values) / len(values) if values else newest

    def _log(self, now: float) -> None:
        """Log once when figures begin to be missing, and when they are there again."""
        if not (self._samples or self._silent(now)):
            return  # the driver is being asked for the first time
        if reason := self._reason(now):
            self._missing.failed(reason)
        else:
            self._missing.over()


class _Sampler:
    """A running sampler, which writes to this pipe, and the line by which it is asked."""

    def __init__(self, pipe: int) -> None:
        self.process = subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=pipe)
        assert self.process.stdin is not None
        self._line = self.process.stdin
        os.set_blocking(self._line.fileno(), False)

    def ask(self) -> bool:
        """Have it ask the cards at once; False when it has ended."""
        try:
            os.write(self._line.fileno(), b"?")
        except BlockingIOError:
            return True  # what it has not read yet has it ask too
        except BrokenPipeError:
            return False
        return True

    def end(self) -> None:
        """Kill it."""
        end_child(self.process)
        self._line.close()


def _chunk(pipe: int) -> bytes:
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return b""


def _entry(sample: GpuSample, gpu: Gpu) -> GpuFigures | None:
    return next((figures for figures in sample.gpus if figures.uuid == gpu.uuid), None)


if __name__ == "__main__":
    print(to_json(inventory()))
