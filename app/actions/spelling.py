"""What somebody meant who wrote a name that is not there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

COMPARED = 100  # names that are not there; to compare one with a thousand takes some milliseconds, and a batch has many


def did_you_mean(written: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Of each name the end of a sentence that asks for the nearest known one; empty where none is near."""
    names = {name.casefold(): name for name in sorted(known)}
    return {name: _asks(name, names) if place < COMPARED else "" for place, name in enumerate(written)}


def _asks(written: str, names: dict[str, str]) -> str:
    near = get_close_matches(written.casefold(), names, n=1)
    return f"; did you mean '{names[near[0]]}'?" if near else ""
