"""Versions of what people change: of two people who change what they saw, the second is told."""

from __future__ import annotations

from collections.abc import Callable

from app.actions.errors import Stale

Matches = Callable[[str], bool]  # whether a version is the one that the actor has seen


def check(matches: Matches | None, present: str) -> None:
    """Raise Stale when the actor named a version and the present one is another; None: the actor named none."""
    if matches is not None and not matches(present):
        raise Stale
