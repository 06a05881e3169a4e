"""What is on the disk: it outlives a power cut.

An fsync of each file costs a flush of the disk each. Many files are therefore written back by one syncfs(2), where the
file system and the kernel keep the same promise by it; elsewhere, and where that reports an error that may be
somebody else's file's, each file is fsynced, in a few threads so that the journal commits several at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agent.files.work import FileWork, Ticker

WORTH_SYNCFS = 200  # files; it also waits for what others have written, so not for a few
# <linux/magic.h>: ext2 to 4, XFS, Btrfs, F2FS, tmpfs. syncfs writes their files and their journal. FUSE and SMB flush
# by fsync alone, and NFS has done so when a file is closed, so that an fsync costs nothing there.
WHOLE = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994})
TELLS_ERRORS = (5, 8)  # the first Linux whose syncfs does
_STATFS_BYTES = 512  # far above struct statfs, which begins with the type as a long
_libc = ctypes.CDLL(None, use_errno=True)


def sync(files: Sequence[Path], folders: Sequence[Path], tick: Ticker) -> None:
    """Have these files, and the names in these folders, on the disk. One that has gone meanwhile is no error.

    All lie in the file system of the first folder. Raises OSError, and what `tick` raises.
    """
    if len(files) >= WORTH_SYNCFS and _kept_by_syncfs(folders[0]):
        with contextlib.suppress(OSError):  # whose file it was only an fsync of each can tell
            FileWork("writing to the disk", len(files), 0, tick).aside(partial(_syncfs, folders[0]))
            return
    FileWork("writing to the disk", len(files), 0, tick).each(_fsync, files)
    for folder in folders:
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file that is fsynced but has no name is lost. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _fsync(file: Path) -> None:
    with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
        os.fsync(opened.fileno())


def _kept_by_syncfs(folder: Path) -> bool:
    told = platform.release().split(".")[:2]
    if not all(part.isdecimal() for part in told) or tuple(map(int, told)) < TELLS_ERRORS:
        return False
    about = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.statfs(os.fsencode(folder), about):
        return False
    return ctypes.c_long.from_buffer(about).value in WHOLE


def _syncfs(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(fd):
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(fd)
