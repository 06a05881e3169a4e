"""Files moved, linked and copied into a checkpoint."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)
_NO_COPIES = (errno.EXDEV, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EBADF)
_CHUNK = 1 << 27  # of a copy within the kernel: a look at what is asked of us stands between two


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
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)


def copy(source: str | Path, target: str | Path, passed: Callable[[int], None]) -> int:
    """Copy what a file holds into a new one, without its data where the file system can share it. Returns its bytes.

    `passed` is told of bytes as they are copied. What is appended meanwhile is left out. Raises FileNotFoundError
    also when the source is no regular file any more, and OSError.
    """
    with open(source, "rb", buffering=0, opener=_open_file) as reading, open(target, "xb", buffering=0) as writing:
        size = left = os.fstat(reading.fileno()).st_size
        while left > 0 and (count := _copied(reading.fileno(), writing.fileno(), min(left, _CHUNK))):
            left -= count
            passed(count)
        return size - left


def _open_file(path: str, flags: int) -> int:
    """Open what is a regular file: no link is followed, and no pipe waited for."""
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(error.errno, "no regular file any more", path) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "no regular file any more", path)
    return fd


def _copied(reading: int, writing: int, count: int) -> int:
    """Copy up to `count` bytes from where both stand; 0 at the end of a file that was cut meanwhile."""
    try:
        return os.copy_file_range(reading, writing, count)
    except OSError as error:
        if error.errno not in _NO_COPIES:
            raise
    chunk = os.read(reading, min(count, 1 << 20))
    view = memoryview(chunk)
    while view:
        view = view[os.write(writing, view) :]
    return len(chunk)
