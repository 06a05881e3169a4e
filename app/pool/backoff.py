"""How soon to try again what has failed, and what is logged of a row of failures."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Pauses that double with each failure in a row, up to `most_s`; jitter parts those that failed together."""

    first_s: float = 0.2
    most_s: float = 5.0
    least: float = 0.5  # jitter shortens a pause to this share of it at most

    def after(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row, 1 for the first."""
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30)) * random.uniform(self.least, 1.0)


class Outage:
    """Failures in a row of one thing; the log gets the first of them and the end, each once."""

    def __init__(self, logger: logging.Logger, failing: str, over: str | None = None) -> None:
        self._log = logger
        self._failing = failing
        self._over = over
        self.failures = 0

    def failed(self, why: object, backoff: Backoff = Backoff(), at_once: bool = False) -> float:
        """Count a failure. Returns seconds until the next try; 0 after the first with `at_once`."""
        if not self.failures:
            self._log.warning("%s: %s", self._failing, why)
        self.failures += 1
        again = self.failures - at_once
        return backoff.after(again) if again else 0.0

    def over(self) -> None:
        """End the row: a try got through."""
        if self.failures and self._over:
            self._log.info("%s", self._over)
        self.failures = 0
