"""The manifest of one attempt: lines of JSON, appended and never changed up to where a checkpoint counts.

What lies beyond that was never kept, or was kept by nobody who still matters; whoever reads goes no further. The
digest of what counts is told with its length, so that a manifest which is not the one that was meant is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.files.durable import sync_folder
from app.pool.codec import from_plain, plain
from app.pool.model import FileFact

NAME = "manifest"


@dataclass(frozen=True)
class KeptFile:
    """A line: a file or a link that is kept under its name from here on, or with neither one that is gone."""

    name: str  # relative to the output folder, any bytes as os.fsdecode has them
    stored: int | None = None  # the number of its copy
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0o644
    link: str | None = None  # where a symbolic link leads


@dataclass(frozen=True)
class After:
    """The first line of an attempt that went on from an earlier one: how much of whose manifest counts."""

    attempt: str  # the name of its folder
    counts: FileFact


class Manifest:
    """The manifest that this attempt writes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._bytes = 0
        self._digest = hashlib.sha256()

    @property
    def counts(self) -> FileFact:
        """How far it counts by now."""
        return FileFact(NAME, self._bytes, self._digest.hexdigest())

    def append(self, lines: Sequence[KeptFile | After]) -> None:
        """Write these lines and have them on the disk. Raises OSError, and then they do not count."""
        text = b"".join(json.dumps(plain(line), separators=(",", ":")).encode() + b"\n" for line in lines)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            # At the place where it counts to: what a full disk cut off the last time is written over.
            written = os.pwrite(fd, text, self._bytes)
            if written < len(text):
                raise OSError(f"only {written} of {len(text)} bytes of {self._path} could be written")
            os.fsync(fd)
        finally:
            os.close(fd)
        if not self._bytes:
            sync_folder(self._path.parent)
        self._bytes += len(text)
        self._digest.update(text)


def entries(folder: Path, counts: FileFact) -> dict[str, tuple[Path, KeptFile]]:
    """What is kept as this manifest counts: by name the folder of its copy, and its line.

    `folder` is that of the attempt's copies. Raises FileNotFoundError or ValueError when it is not what was kept.
    """
    chain = [(folder, list(_lines(folder, counts)))]
    while isinstance(first := chain[-1][1][0], After):
        # <job>/<attempt>/.checkpoints/kept: every attempt has its folder beside the others.
        folder = folder.parents[2] / first.attempt / folder.parent.name / folder.name
        chain.append((folder, list(_lines(folder, first.counts))))
    kept: dict[str, tuple[Path, KeptFile]] = {}
    for folder, lines in reversed(chain):
        for line in lines:
            if isinstance(line, KeptFile):
                kept.pop(line.name, None)
                if line.stored is not None or line.link is not None:
                    kept[line.name] = (folder, line)
    return kept


def _lines(folder: Path, counts: FileFact) -> Iterator[KeptFile | After]:
    with (folder / NAME).open("rb") as file:
        text = file.read(counts.size)
    if hashlib.sha256(text).hexdigest() != counts.sha256 or not text:
        raise ValueError(f"{folder / NAME} is not what the checkpoint counts on")
    for line in text.splitlines():
        said = json.loads(line)
        yield from_plain(After, said) if "counts" in said else from_plain(KeptFile, said)
