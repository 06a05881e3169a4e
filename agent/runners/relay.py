"""A relay: one stream of a command, passed on to our own as it comes, but for the words in it.

It never waits, neither for the command nor for the guard: while the guard does not read, the command is not read
either and waits in its own write.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from agent.ipc.own_output import OwnOutput
from agent.runners.words import Words

CHUNK_BYTES = 64 * 1024
MOST_REST = 1024 * 1024  # bytes that a pipe may hold


class Relay:
    """From a pipe of the command to our descriptor 1 or 2; `understand` is called with each word."""

    def __init__(self, source: int, target: int, understand: Callable[[bytes], None]) -> None:
        os.set_blocking(source, False)
        self._source = source
        self._target = OwnOutput(target)
        self._words = Words(understand)
        self._ended = False
        self.unwritten = b""

    def register(self, poll: select.poll) -> None:
        """Have it wake when this relay can go on."""
        if self.unwritten:
            poll.register(self._target, select.POLLOUT)
        elif not self._ended:
            poll.register(self._source, select.POLLIN)

    def step(self) -> None:
        """Pass on what is there. Raises LeaseLost when the guard is gone."""
        self.write()
        if not self.unwritten and not self._ended:
            self.unwritten = self._words.feed(self._read())
            self.write()

    def write(self) -> None:
        """Write what waits, as far as there is room. Raises LeaseLost."""
        if self.unwritten:
            self.unwritten = self.unwritten[self._target.write_some(self.unwritten) :]

    def finish(self) -> None:
        """Take all that is left after the command's end, at most what its pipe can hold; it waits to be written."""
        rest = [self.unwritten]
        for _ in range(MOST_REST // CHUNK_BYTES):
            if self._ended or not (chunk := self._read()):
                break
            rest.append(self._words.feed(chunk))
        self.unwritten = b"".join([*rest, self._words.finish()])

    def _read(self) -> bytes:
        try:
            chunk = os.read(self._source, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        self._ended = not chunk
        return chunk
