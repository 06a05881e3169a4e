"""Values kept for a moment, so that many viewers of one page cost as much as one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

from flask import current_app

T = TypeVar("T")
FLEET, REGISTERED = "muster.fleet", "muster.registered"  # values made from workers


class Recent(Generic[T]):
    """A value that is made anew when it is older than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._made_at = -math.inf
        self._value: T | None = None

    def forget(self) -> None:
        """Let the next viewer see what has just been changed."""
        # Under the lock: a value that is being made may have been read before the change.
        with self._lock:
            self._made_at = -math.inf

    def get(self, make: Callable[[T | None], T]) -> T:
        """The value; `make` renews it from the former one when that is too old. Raises what `make` raises."""
        # Made under the lock: of viewers who come together one asks the stores and the others wait for it.
        with self._lock:
            if self._value is None or time.monotonic() - self._made_at >= self._seconds:
                self._value = make(self._value)
                self._made_at = time.monotonic()
            return self._value


def recent(name: str, seconds: float) -> Recent[Any]:
    """The value of this name in this application; made `seconds` old at most."""
    value: Recent[Any] = current_app.extensions.setdefault(name, Recent(seconds))
    return value


def forget_workers() -> None:
    """Let whoever has changed workers see the change; viewers of other web processes see it a little later."""
    for name in (FLEET, REGISTERED):
        if name in current_app.extensions:
            current_app.extensions[name].forget()
