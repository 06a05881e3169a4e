"""Sizes and SHA-256 of files, once they are on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agent.files import durable
from agent.files.work import FileWork, Ticker
from app.pool.model import FileFact

_CHUNK = 1 << 20


def facts(files: Sequence[tuple[Path, str]], folders: Sequence[Path], tick: Ticker) -> list[FileFact]:
    """The facts of these files, each under its name, and all of them and the folders' names on the disk.

    A file that has gone meanwhile is left out. Raises OSError, and what `tick` raises.
    """
    total_bytes = sum(map(_size, files))
    work = FileWork("saving", len(files), total_bytes, tick)
    found = work.each(partial(_fact, work), files)
    durable.sync([path for path, _ in files], folders, tick)
    return [fact for fact in found if fact is not None]


def _size(file: tuple[Path, str]) -> int:
    try:
        return file[0].stat().st_size
    except FileNotFoundError:
        return 0


def _fact(work: FileWork, file: tuple[Path, str]) -> FileFact | None:
    path, name = file
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("rb", buffering=0) as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                work.passed(len(chunk))
    except FileNotFoundError:
        return None  # of a process that the workflow has left behind
    return FileFact(name, size, digest.hexdigest())
