"""How much a count may hide: exact upper bounds at 95 %, one-sided. PURE."""

from __future__ import annotations

import math
from collections.abc import Callable

MISSED = 0.05  # in so many cases the true value is higher
HALVINGS = 60


def poisson_most(count: int) -> float:
    """The mean above which so few events come in at most 5 of 100 cases."""

    def seldom(mean: float) -> float:
        return sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(count + 1))

    return _crossing(seldom, 10.0 + 3 * count)


def share_most(count: int, of: int) -> float:
    """The share above which so few of so many are found in at most 5 of 100 cases (Clopper and Pearson)."""

    def seldom(share: float) -> float:
        return sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count + 1))

    return 1.0 if count == of else _crossing(seldom, 1.0)


def _crossing(falling: Callable[[float], float], high: float) -> float:
    """Where this falls below MISSED."""
    low = 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > MISSED else (low, middle)
    return high
