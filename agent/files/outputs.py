"""An attempt's outputs: the regular files in its output folder, when its work is done.

What has a name that cannot be reported, or that no link could lead to, is given another one here, on the disk too.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.files import names
from agent.files.facts import facts
from agent.files.work import Ticker
from app.pool.model import FileFact

_MOST_SAID = 20  # lines about names


def outputs(folder: Path, but: Path, tick: Ticker, say: Callable[[str], None]) -> tuple[FileFact, ...]:
    """The regular files below `folder`, by relative name, without links and what lies below `but`; all on the disk.

    `say` is told which files have another name from now on, or are left out. Raises OSError, and what `tick` raises.
    """
    found = _Found(folder, but)
    found.look(tick)
    for line in found.said[:_MOST_SAID]:
        say(line)
    if len(found.said) > _MOST_SAID:
        say(f"… and so on for {len(found.said) - _MOST_SAID} more")
    given = sorted(found.files, key=lambda file: file[1])
    return tuple(_typed(fact) for fact in facts(given, found.folders, tick))


def _typed(fact: FileFact) -> FileFact:
    return replace(fact, media_type=mimetypes.guess_type(fact.name)[0])


class _Found:
    """What lies in the output folder, once every name in it is one that can be reported."""

    def __init__(self, folder: Path, but: Path) -> None:
        self._top, self._but = folder, but
        self.files: list[tuple[Path, str]] = []
        self.folders: list[Path] = []
        self.said: list[str] = []

    def look(self, tick: Ticker) -> None:
        """Walk through the folder; links are not followed. Raises OSError when it cannot be read itself."""
        waiting = [self._top]
        while waiting:
            here = waiting.pop()
            try:
                waiting += self._within(here)
            except OSError as error:
                if here == self._top:
                    raise
                self._left_out(here, error)
            tick("looking for outputs")

    def _within(self, here: Path) -> list[Path]:
        """Note the files of one folder, and return the folders in it. Raises OSError when it cannot be read."""
        with os.scandir(here) as entries:
            listed = [entry for entry in entries if Path(entry.path) != self._but]
        self.folders.append(here)
        folders = [entry for entry in listed if entry.is_dir(follow_symlinks=False)]
        for entry in listed:
            if entry.is_file(follow_symlinks=False) and (path := self._reportable(Path(entry.path))):
                self.files.append((path, path.relative_to(self._top).as_posix()))
        return [path for entry in folders if (path := self._reportable(Path(entry.path), is_file=False))]

    def _reportable(self, path: Path, is_file: bool = True) -> Path | None:
        """Where this lies from now on, under a name that can be reported; None when it cannot have one."""
        folder, name = path.parent, names.escaped(path.name)
        if is_file and not names.fits_link((folder / name).relative_to(self._top).as_posix()):
            folder = self._top
        if folder / name == path:
            return path
        target = folder / names.free(name, lambda wanted: os.path.lexists(folder / wanted))
        try:
            path.rename(target)
        except OSError as error:
            self._left_out(path, error)
            return None
        self.said.append(f"{self._called(path)} is kept as {target.relative_to(self._top)}")
        return target

    def _left_out(self, path: Path, error: OSError) -> None:
        self.said.append(f"{self._called(path)} is left out of the outputs: {error.strerror}")

    def _called(self, path: Path) -> str:
        """A name for people, short enough for the log."""
        return repr(path.relative_to(self._top).as_posix())[:1000]
