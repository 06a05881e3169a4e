"""A limit on how long a piece of Python may take, in the main thread: a regular expression may backtrack for ever."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import NoReturn

_SIGNALS = {signal.ITIMER_REAL: signal.SIGALRM, signal.ITIMER_VIRTUAL: signal.SIGVTALRM}


@contextlib.contextmanager
def within(seconds: float, timer: int = signal.ITIMER_REAL) -> Iterator[None]:
    """Raise TimeoutError when the block takes longer: `re` handles signals while it searches.

    timer: ITIMER_REAL counts time as it passes, ITIMER_VIRTUAL what all threads use of the processor, which others
    that are busy do not use up.
    """
    before = signal.signal(_SIGNALS[timer], _too_late)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(_SIGNALS[timer], before)


def _too_late(*_: object) -> NoReturn:
    raise TimeoutError
