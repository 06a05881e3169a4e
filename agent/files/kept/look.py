"""One look at an output folder: which files and links are there, by relative name, at the price of a stat each."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from agent.files.kept.patterns import Patterns


def look(output: str, but: str, patterns: Patterns) -> dict[str, os.stat_result]:
    """The files and links below `output` that are to be kept, without what lies in the folder `but`.

    What vanishes while it is looked at is left out. Raises OSError when `output` cannot be read.
    """
    found: dict[str, os.stat_result] = {}
    waiting = [""]
    while waiting:
        within = waiting.pop()
        for entry in _listed(f"{output}/{within}" if within else output, bool(within)):
            name = f"{within}/{entry.name}" if within else entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting += [name] if entry.path != but and patterns.may_match_in(name) else []
            elif patterns.match(name) and (status := status_of(entry.path)):
                found[name] = status
    return found


def status_of(path: str) -> os.stat_result | None:
    """What lstat says of a regular file or a link; None where there is none."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode) else None


def _listed(folder: str, may_vanish: bool) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        if not may_vanish:
            raise
