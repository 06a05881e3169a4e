"""The home folder: one pool at a time runs in it; it keeps what that pool needs the next time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from app.ledger import tokens
from app.ledger.db import Ledger
from app.pool.errors import PoolError
from app.pool.text import write_private


class Home:
    """A home, locked for this process as long as it lives."""

    def __init__(self, path: Path) -> None:
        """Make the folder where there is none, and lock it. Raises PoolError when it is in use or unusable."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PoolError(f"the home {path} cannot be used: {error.strerror}; name another with --home") from error
        try:
            # The kernel releases the lock when we die, however we die.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(self._lock, 20, 0).decode().strip()
            raise PoolError(f"the home {path} is in use by another `up` (process {pid})") from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def token(self, ledger: Ledger, kind: str, owner: str) -> str:
        """The secret of this home's token of a kind; a new token when none is valid. Raises Unavailable."""
        file = self.path / f"{kind}-token"
        if file.exists() and (secret := file.read_text().strip()):
            found = tokens.find(ledger, secret)
            if found is not None and found.kind == kind:
                return secret
        _, secret = tokens.create(ledger, kind, owner)
        write_private(file, secret + "\n")
        return secret
