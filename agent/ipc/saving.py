"""Saving: the guard is told while files are hashed and written, so that its limits measure the work alone.

In this time neither running time nor silence is counted. Every tick looks whether the attempt is still ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from agent.ipc.wire import Wire

SHOWN_AFTER_S = 1.0  # what is saved sooner is not worth a word
SAID_S = 0.5  # between two words on how far it is


class Saving:
    """A context in which files are saved; `tick` is what the functions of agent.files call meanwhile."""

    def __init__(self, wire: Wire, look: Callable[[], object]) -> None:
        """`look` is called with every tick, and what it raises ends the saving."""
        self._wire, self._look = wire, look
        self._say_at = 0.0

    def __enter__(self) -> Saving:
        self._say_at = time.monotonic() + SHOWN_AFTER_S
        self._wire.send({"saving": ""})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._wire.send({"saving": None})

    def tick(self, words: str) -> None:
        """Say how far it is, now and then. Raises LeaseLost, and what `look` raises."""
        self._look()
        if (now := time.monotonic()) >= self._say_at:
            self._say_at = now + SAID_S
            self._wire.send({"saving": words})
