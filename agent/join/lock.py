"""The lock of one identity on this host: one agent at a time, and none before the last one's processes are gone.

One file carries two kinds of lock that do not touch each other. The record lock (lockf) is main's own and goes when
main dies. The flock belongs to the open file, which slots, guards and workflows inherit: it is free when the last of
them is gone. A new agent takes the record lock first, so that of two only one ends what the last life has left.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from app.pool.errors import PoolError
from app.pool.model import ID_LENGTH, WorkerId

FOLDERS = (Path("/run/lock"), Path("/tmp"))  # of the host, not of a user or a service
LOOK_S = 0.02  # between two tries: a wait inside flock has no limit


class HostLock:
    """The open lock file. A child inherits its descriptor `fd` only where it is passed on by name."""

    def __init__(self, fd: int, path: Path) -> None:
        self.fd = fd
        self._path = path

    @classmethod
    def open(cls, digest: str) -> HostLock:
        """Become the one agent of this identity. Raises PoolError while another one lives."""
        path = path_of(digest)
        try:
            lock = cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), path)
        except OSError as error:
            raise PoolError(
                f"cannot open {path} ({error.strerror}); an agent of another user may have made it"
            ) from error
        return lock._for_main()

    def former_worker(self) -> WorkerId | None:
        """The worker of this identity's last life, known also when its state folder is lost; None without one."""
        text = os.pread(self.fd, ID_LENGTH, 0).decode(errors="replace")
        return WorkerId(text) if len(text) == ID_LENGTH else None

    def wait_for_the_last(self, seconds: float) -> None:
        """Wait until no process of a former life holds the lock, and hold it. Raises PoolError when one stays."""
        end = time.monotonic() + seconds
        while not self._flocked():
            if time.monotonic() > end:
                raise PoolError(f"processes of this agent's last life do not end; `fuser {self._path}` names them")
            time.sleep(LOOK_S)

    def note(self, worker: WorkerId) -> None:
        """Write down the worker's id for the next life."""
        os.pwrite(self.fd, worker.encode(), 0)

    def _for_main(self) -> HostLock:
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.fd)
            raise PoolError(
                "another agent of this identity (machine id, GPUs or name) runs on this host; "
                "stop it, or give this one other GPUs (MUSTER_GPUS) or, without a GPU, another MUSTER_NAME"
            ) from error
        return self

    def _flocked(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def path_of(digest: str) -> Path:
    """The lock file of an identity. It stays for ever: who waits for a removed file would not see the new one."""
    folder = next((folder for folder in FOLDERS if os.access(folder, os.W_OK)), FOLDERS[-1])
    return folder / f"muster-{digest[:32]}.lock"
