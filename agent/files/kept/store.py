"""The store: one attempt's copies of what its command has finished, and the manifest of them.

A copy is its own file, or shares its data where the file system can: what a command appends to, cuts or writes over
later does not reach it. A file whose size, time and inode are those of the last checkpoint is not touched.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.files import durable, moving
from agent.files.kept.look import look, status_of
from agent.files.kept.manifest import After, KeptFile, Manifest, entries
from agent.files.kept.patterns import Patterns
from agent.files.work import FileWork, Ticker
from app.pool.model import FileFact

FOLDER = "kept"  # in the attempt's folder of checkpoints
_CLOCK = 5  # CLOCK_REALTIME_COARSE of <linux/time.h>: file systems take their times from it
LOOKS = 2  # at the folder: the command runs on, and what it wrote while the first copies were made belongs to them
_MOST_SETTLING_NS = 20_000_000  # beyond two ticks of it; a server's clock may differ by more

Signature = tuple[int, int, int]


@dataclass(frozen=True)
class _New:
    """A file that is to be copied, and the number of its copy."""

    name: str
    number: int
    status: os.stat_result


class Store:
    """What the command of one attempt keeps by its checkpoints."""

    def __init__(self, output: Path, checkpoints: Path, patterns: Patterns) -> None:
        self._output, self._but = str(output), str(checkpoints)
        self._folder = checkpoints / FOLDER
        self._patterns = patterns
        self._manifest = Manifest(self._folder)
        self._unwritten: list[KeptFile | After] = []  # goes before the first line
        self._known: dict[str, Signature] = {}
        self._copies = 0

    def restore(self, attempt: str, folder: Path, counts: FileFact, tick: Ticker) -> None:
        """Bring back what an earlier attempt's checkpoint holds, into the output folder.

        `attempt` is the name of that attempt's folder, `folder` that of its copies. Raises FileNotFoundError or
        ValueError when something of it is missing, OSError, and what `tick` raises.
        """
        kept = list(entries(folder, counts).values())
        work = FileWork("bringing back", len(kept), sum(entry.size for _, entry in kept), tick)
        signatures = work.each(partial(self._restored, work), kept)
        self._known = {entry.name: signature for (_, entry), signature in zip(kept, signatures)}
        self._unwritten = [After(attempt, counts)]

    def keep(self, named: Sequence[str], tick: Ticker) -> FileFact | None:
        """Keep what has changed since the last checkpoint; return how far the manifest counts now, None without one.

        With `named` only these files are looked at, else all that the patterns match; what was deleted goes either
        way. Raises ValueError when one that is named is no file, OSError, and what `tick` raises; then nothing counts.
        """
        before = self._copies
        try:
            return self._kept(named, tick)
        except BaseException:
            for number in range(before + 1, self._copies + 1):  # on a full disk the room is needed
                self._copy_of(number).unlink(missing_ok=True)
            raise

    def _kept(self, named: Sequence[str], tick: Ticker) -> FileFact | None:
        new: dict[str, KeptFile] = {}
        known = dict(self._known)
        found: Mapping[str, os.stat_result] = {}
        for _ in range(LOOKS):
            found = self._named(named) if named else look(self._output, self._but, self._patterns)
            changed = {name: status for name, status in found.items() if known.get(name) != _signature(status)}
            for line in self._copied(changed, tick):
                self._drop(new.get(line.name))
                new[line.name] = line
                known[line.name] = _signature(changed[line.name])
            if not changed:
                break
        gone = [name for name in known if name not in found and status_of(f"{self._output}/{name}") is None]
        for name in gone:
            self._drop(new.pop(name, None))
            del known[name]
        self._write([*(KeptFile(name) for name in gone if name in self._known), *new.values()])
        self._known = known
        return self._manifest.counts if self._manifest.counts.size else None

    def _write(self, lines: Sequence[KeptFile]) -> None:
        if lines or self._unwritten:
            self._make_folder()
            self._manifest.append([*self._unwritten, *lines])
            self._unwritten = []

    def _copied(self, changed: Mapping[str, os.stat_result], tick: Ticker) -> list[KeptFile]:
        """Copy what has changed, on the disk when this returns; what has gone meanwhile is left out."""
        if not changed:
            return []
        self._make_folder()
        _settle(max(status.st_mtime_ns for status in changed.values()))
        new = [_New(name, self._copies + at, status) for at, (name, status) in enumerate(changed.items(), 1)]
        self._copies += len(new)
        work = FileWork("keeping", len(new), sum(each.status.st_size for each in new), tick)
        lines = [line for line in work.each(partial(self._copy, work), new) if line]
        durable.sync([self._copy_of(line.stored) for line in lines if line.stored], [self._folder], tick)
        return lines

    def _copy(self, work: FileWork, new: _New) -> KeptFile | None:
        path, status = self._path(new.name), new.status
        try:
            if stat.S_ISLNK(status.st_mode):
                return KeptFile(new.name, link=self._leads(path))
            size = moving.copy(path, self._copy_of(new.number), work.passed)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return KeptFile(new.name, new.number, size, status.st_mtime_ns, stat.S_IMODE(status.st_mode))

    def _leads(self, path: Path) -> str:
        """Where a link leads; into the output folder by a relative way, since the next attempt has another one."""
        leads = str(path.readlink())
        return os.path.relpath(leads, path.parent) if leads.startswith(f"{self._output}/") else leads

    def _restored(self, work: FileWork, kept: tuple[Path, KeptFile]) -> Signature:
        folder, entry = kept
        path = self._path(entry.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.link is not None:
            path.symlink_to(entry.link)
            return _signature(path.lstat())
        copied = moving.copy(folder / str(entry.stored), path, work.passed)
        if copied != entry.size:
            raise ValueError(f"{folder / str(entry.stored)} has {copied} bytes and had {entry.size}")
        path.chmod(entry.mode)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
        return _signature(path.lstat())

    def _named(self, names: Sequence[str]) -> dict[str, os.stat_result]:
        return dict(map(self._one_named, names))

    def _one_named(self, said: str) -> tuple[str, os.stat_result]:
        path = Path(os.path.normpath(Path(self._output, said)))
        folder = path.parent.resolve()  # which may be a link that leads elsewhere, or to us
        ours = folder.is_relative_to(Path(self._but).resolve())
        status = status_of(str(path)) if folder.is_relative_to(Path(self._output).resolve()) and not ours else None
        if status is None or not path.is_relative_to(self._output):
            raise ValueError(f"{said!r} is no file in the output folder")
        return str(path.relative_to(self._output)), status

    def _path(self, name: str) -> Path:
        return Path(self._output, name)

    def _copy_of(self, number: int) -> Path:
        return self._folder / str(number)

    def _drop(self, line: KeptFile | None) -> None:
        """Remove a copy that no checkpoint counts on yet."""
        if line and line.stored:
            self._copy_of(line.stored).unlink()

    def _make_folder(self) -> None:
        if not self._folder.exists():
            self._folder.mkdir()
            for folder in list(self._folder.parents)[:3]:  # up to the job's
                durable.sync_folder(folder)


def _signature(status: os.stat_result) -> Signature:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _settle(newest_ns: int) -> None:
    """Wait until the file system's clock has moved on: what is written from now on has a later time.

    Without it a file that is written once more within the same tick, to the same size, would look unchanged.
    """
    end = time.monotonic_ns() + _MOST_SETTLING_NS
    while time.clock_gettime_ns(_CLOCK) <= newest_ns and time.monotonic_ns() < end:
        time.sleep(0.001)
