"""The spool: portions of logs on this host's disk, from when their guard wrote them until the web server has them.

A portion is a file whose name is its head, in a folder of its attempt. It is renamed into its place when it is whole,
so that whoever dies in between leaves the whole of it or a draft. What an earlier life of the agent has left is found
here. Everything here may wait for the disk, or raise OSError.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.pool.log.portion import PortionHead
from app.pool.model import JobId

DRAFT = ".draft"


@dataclass(frozen=True)
class Portion:
    """A portion that lies in the spool; `size` is that of its file in bytes."""

    job: JobId
    attempt: int
    head: PortionHead
    size: int


def attempt_folder(spool: Path, job: JobId, attempt: int) -> Path:
    """Where an attempt's portions lie."""
    return spool / f"{job}.{attempt}"


def file_of(spool: Path, portion: Portion) -> Path:
    """Where a portion lies."""
    return attempt_folder(spool, portion.job, portion.attempt) / _name(portion.head)


def write(folder: Path, head: PortionHead, packed: bytes) -> None:
    """Add a portion to the folder of its attempt, which is made when it is missing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f"{head.number}{DRAFT}"
    try:
        draft.write_bytes(packed)
        draft.rename(folder / _name(head))
    except OSError:
        with contextlib.suppress(OSError):  # the first error tells more
            draft.unlink(missing_ok=True)
        raise


def attempts(spool: Path) -> list[tuple[JobId, int]]:
    """The attempts of which something may lie here."""
    with contextlib.suppress(FileNotFoundError):
        return [(JobId(job), int(number)) for job, dot, number in _parted(spool) if dot and number.isdecimal()]
    return []


def portions(spool: Path, job: JobId, attempt: int) -> list[Portion]:
    """An attempt's portions in their order. Drafts are removed: call it when nobody writes there (any more)."""
    folder, found = attempt_folder(spool, job, attempt), []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(DRAFT):
                Path(entry.path).unlink()
            elif head := _head(entry.name):
                found.append(Portion(job, attempt, head, entry.stat().st_size))
    return sorted(found, key=lambda portion: portion.head.number)


def remove(spool: Path, portion: Portion) -> None:
    """Remove a portion; harmless when it is gone."""
    file_of(spool, portion).unlink(missing_ok=True)


def remove_folder(spool: Path, job: JobId, attempt: int) -> None:
    """Remove an attempt's folder if it is empty and there."""
    with contextlib.suppress(OSError):
        attempt_folder(spool, job, attempt).rmdir()


def _parted(spool: Path) -> Iterator[tuple[str, str, str]]:
    return (name.rpartition(".") for name in os.listdir(spool))


def _name(head: PortionHead) -> str:
    return f"{head.number}-{head.first_line}-{head.lines}-{head.first_byte}-{head.bytes}-{int(head.closed)}"


def _head(name: str) -> PortionHead | None:
    parts = name.split("-")
    if len(parts) != 6 or not all(part.isdecimal() for part in parts):
        return None
    number, first_line, lines, first_byte, count, closed = map(int, parts)
    return PortionHead(number, first_line, lines, first_byte, count, bool(closed))
