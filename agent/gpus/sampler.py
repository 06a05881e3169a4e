"""The sampler: asks the GPUs each second, in a process of its own, and writes a line of JSON for each answer.

A byte on its standard input has it ask at once.

It may hang or end at any time; agent.gpus.inventory reads it, judges its silence and starts the next one. When the
driver has gone, and now and then while a card is lost, it says why and ends by itself: only a new process can find
them again.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from agent.gpus.nvml import DriverGone, Session
from agent.processes import die_with_parent
from app.pool.codec import to_json
from app.pool.protocol import GpuFigures

EVERY_S = 1.0
LOST_S = 30.0  # how long a session with a lost card goes on; a new one initialises every card
ONCE = "--once"


def command(*, once: bool = False) -> tuple[str, ...]:
    """The command that starts a sampler as a child of this process; with `once` it only lists the cards."""
    return (sys.executable, "-m", "agent.gpus.sampler", str(os.getpid()), *([ONCE] if once else []))


@dataclass(frozen=True)
class GpuSample:
    """What the driver said at one time; without cards `reason` says why there are none."""

    at: float  # when it was begun: CLOCK_MONOTONIC in seconds, which all processes of a host share
    gpus: tuple[GpuFigures, ...] = ()
    driver: str | None = None
    reason: str | None = None


def main(parent: int, once: bool) -> None:
    """Write samples to the parent until it or the driver ends."""
    die_with_parent(signal.SIGKILL, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the parent
    for sample in _identities() if once else _samples():
        os.write(1, to_json(sample).encode() + b"\n")


def _identities() -> Iterator[GpuSample]:
    try:
        session = Session()
    except DriverGone as gone:
        yield GpuSample(time.monotonic(), reason=str(gone))
    else:
        yield _sample(session, session.identities, time.monotonic())


def _samples() -> Iterator[GpuSample]:
    try:
        session = Session()
        opened_at = time.monotonic()
        while not session.lost or time.monotonic() < opened_at + LOST_S:
            began = time.monotonic()
            yield _sample(session, session.figures(), began)
            if not _wait(EVERY_S * random.uniform(0.9, 1.0)):
                return
    except DriverGone as gone:
        yield GpuSample(time.monotonic(), reason=str(gone))


def _wait(seconds: float) -> bool:
    """Wait until it is time, or somebody asks; False when nobody is left to ask."""
    asked, _, _ = select.select([0], [], [], seconds)
    return not asked or bool(os.read(0, 4096))  # who asked several times is answered once


def _sample(session: Session, gpus: tuple[GpuFigures, ...], began: float) -> GpuSample:
    return GpuSample(began, gpus, session.driver, "; ".join(session.unreachable) or None)


if __name__ == "__main__":
    main(int(sys.argv[1]), ONCE in sys.argv[2:])
