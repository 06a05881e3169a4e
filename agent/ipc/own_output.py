"""A workflow process' own way to its standard output or error, which nothing that runs in it can close or redirect."""

from __future__ import annotations

import os
import select

from app.pool.errors import LeaseLost


class OwnOutput:
    """A file description of its own for the pipe that is descriptor 1 or 2 when this is made. No write waits.

    A descriptor that a child inherits would share its flags with that child: some programs make a pipe non-blocking.
    """

    def __init__(self, fd: int) -> None:
        self._fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def write_some(self, data: bytes | memoryview) -> int:
        """Write what there is room for. Returns how many bytes that was. Raises LeaseLost when nobody reads."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError as error:
            raise LeaseLost("the guard is gone") from error

    def write(self, data: bytes) -> None:
        """Write all of it, waiting while nobody reads. Raises LeaseLost."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.write_some(rest) :]
            if rest:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
