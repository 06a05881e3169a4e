"""Patterns of files, as `keep` in workflows.toml has them: relative to the output folder, `**` for any folders."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

MOST = 50
MOST_CHARACTERS = 200


def check(keep: Any, runner: Any) -> None:
    """Raise ValueError when a workflow's `keep`, as it was read, is no list of patterns; None says nothing."""
    if keep is None:
        return
    if runner != "command":
        raise ValueError("keep is for commands; a Python workflow names the files of each checkpoint")
    if not isinstance(keep, list) or len(keep) > MOST:
        raise ValueError(f"keep must be a list of at most {MOST} patterns")
    for pattern in keep:
        wrong = problem(pattern) if isinstance(pattern, str) else "is no text"
        if wrong:
            raise ValueError(f"keep: {str(pattern)[:80]!r} {wrong}")


def problem(pattern: str) -> str | None:
    """What is wrong with a pattern, in words; None where nothing is."""
    if not 1 <= len(pattern) <= MOST_CHARACTERS:
        return f"has to have 1 to {MOST_CHARACTERS} characters"
    if pattern.startswith("/") or any(part in ("", ".", "..") for part in pattern.split("/")):
        return "must lie in the output folder: write it as models/**, without a / at its beginning or end"
    return None


class Patterns:
    """Which files are kept; with no patterns (None) all are."""

    def __init__(self, patterns: Iterable[str] | None) -> None:
        self._patterns = None if patterns is None else [tuple(pattern.split("/")) for pattern in patterns]

    def match(self, name: str) -> bool:
        """True for a file of this relative name."""
        parts = name.split("/")
        return self._patterns is None or any(_matches(parts, pattern) for pattern in self._patterns)

    def may_match_in(self, folder: str) -> bool:
        """True for a folder of this relative name in which files may be kept."""
        parts = folder.split("/")
        return self._patterns is None or any(_leads_to(parts, pattern) for pattern in self._patterns)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Compare part by part; every `**` takes as few folders as it can, but for the last one."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(parts)
        return any(_matches(parts[taken:], pattern[1:]) for taken in range(len(parts)))
    return bool(parts) and _part(pattern[0]).match(parts[0]) is not None and _matches(parts[1:], pattern[1:])


def _leads_to(folder: Sequence[str], pattern: Sequence[str]) -> bool:
    for place, part in enumerate(folder):
        if pattern[place] == "**":
            return True
        if len(pattern) <= place + 1 or not _part(pattern[place]).match(part):
            return False
    return True


@cache
def _part(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))
