"""Clauses about workers: what is said of one of them or of several. Pure."""

from __future__ import annotations

from dataclasses import dataclass

PLURALS = {"is": "are", "has": "have", "does": "do", "lacks": "lack"}  # all other verbs here are the same


@dataclass(frozen=True)
class Clause:
    """A verb that agrees with the number of workers, and what follows it."""

    verb: str  # as it is said of one
    rest: str

    def of(self, workers: int = 1) -> str:
        """The clause as it is said of so many workers, without their names."""
        return f"{self.verb if workers == 1 else PLURALS.get(self.verb, self.verb)} {self.rest}"
