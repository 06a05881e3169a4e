"""Files that leave an attempt: checkpoints' files and outputs, each with its size and SHA-256.

A file that is reported is on the disk: it is fsynced before its fact is given.
"""

from __future__ import annotations

import errno
import hashlib
import mimetypes
import os
import shutil
from dataclasses import replace
from pathlib import Path

from app.pool.model import FileFact

_CHUNK = 1 << 20


def fact(path: Path, name: str) -> FileFact:
    """The fact of a file under this name, after an fsync.

    Raises OSError when the file cannot be read, ValueError when its name is no UTF-8 and so cannot be reported.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the file {os.fsencode(name)!r} has no name in UTF-8; give it another one") from error
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
        os.fsync(file.fileno())
    return FileFact(name, size, digest.hexdigest())


def outputs(folder: Path, but: Path) -> tuple[FileFact, ...]:
    """The regular files below `folder`, by relative name, without links and what lies below `but`. Raises as `fact`."""
    facts: list[FileFact] = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if Path(here, name) != but)
        paths = [Path(here, name) for name in sorted(names)]
        facts += [_output(path, folder) for path in paths if path.is_file() and not path.is_symlink()]
        sync_folder(Path(here))
    return tuple(facts)


def _output(path: Path, folder: Path) -> FileFact:
    return replace(fact(path, path.relative_to(folder).as_posix()), media_type=mimetypes.guess_type(path)[0])


def move(source: Path, target: Path) -> None:
    """Move a regular file, also to another file system. Raises ValueError when it is none, OSError."""
    if source.is_symlink() or not source.is_file():
        raise ValueError(f"{source} is not a file")
    shutil.move(source, target)


def link(source: Path, target: Path) -> None:
    """Give a file that never changes a second name; copy it where the file system has no links. Raises OSError."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
            raise
        shutil.copyfile(source, target)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file that is fsynced but has no name is lost. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
