"""A link carries JSON lines over one end of a socket pair, for one thread. Reading and writing never wait."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from app.pool.text import LineBuffer

Message = dict[str, Any]

CHUNK = 256 * 1024
MOST_UNSENT = 1024 * 1024  # bytes; a peer that leaves more unread is as good as gone
CHUNKS_AT_ONCE = 4  # a peer that floods may not keep a guard from its clock: then the caller gets its turn


class Link:
    """One end of the line. `gone` is set when the other end is closed or does not read."""

    def __init__(self, end: socket.socket, most_unsent: int = MOST_UNSENT) -> None:
        end.setblocking(False)
        self._most_unsent = most_unsent
        self._end = end
        self._lines = LineBuffer()
        self._unsent = bytearray()
        self.gone = False

    def fileno(self) -> int:
        return self._end.fileno()

    @property
    def unsent_bytes(self) -> int:
        """How many bytes the other end has had no room for."""
        return len(self._unsent)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message, now or with the next flush. What is sent to an end that is gone is lost."""
        self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what the other end had no room for."""
        try:
            while self._unsent:
                del self._unsent[: self._end.send(self._unsent)]
        except BlockingIOError:
            self.gone = self.gone or len(self._unsent) > self._most_unsent
        except OSError:
            self.gone = True  # what it sent before it closed can still be read

    def receive(self) -> list[Message]:
        """The messages that have come, from a few reads at most; `gone` is set at the end of the line.

        Raises ValueError for a line that is no JSON.
        """
        messages: list[Message] = []
        for _ in range(CHUNKS_AT_ONCE):
            chunk = self._read()
            if not chunk:
                break
            messages += [json.loads(line) for line in self._lines.feed(chunk)]
        return messages

    def close(self) -> None:
        """Close this end."""
        self._end.close()

    def _read(self) -> bytes:
        try:
            chunk = self._end.recv(CHUNK)
        except BlockingIOError:
            return b""
        except ConnectionError:
            chunk = b""
        self.gone = self.gone or not chunk
        return chunk
