"""One connection to Redis for a process that has thousands: it never waits, answers come to whom they belong."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Any
from urllib.parse import urlsplit

import hiredis

CHUNK = 256 * 1024
Answered = Callable[[Any], object]


def unheard(_: Any) -> None:
    """An answer that tells nothing."""


class Line:
    """Speaks RESP2. `heard` takes what no call has asked for: subscriptions and messages."""

    def __init__(self, url: str, selector: BaseSelector, heard: Answered = unheard) -> None:
        parts = urlsplit(url)
        self._selector = selector
        self._heard = heard
        self._reader = hiredis.Reader()
        self._asked: deque[Answered] = deque()
        self._unsent = bytearray()
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), 10)
        self._socket.setblocking(False)
        selector.register(self._socket, EVENT_READ, self)
        if parts.password:
            self.call("AUTH", parts.password)
        self.call("SELECT", parts.path.strip("/") or "0")

    def call(self, *words: Any, answered: Answered = unheard) -> None:
        """Send one command; `answered` gets what comes back. An error ends the process: nothing here may fail."""
        self._asked.append(answered)
        self._send(_packed(*words))

    def pipeline(self, *calls: tuple[Sequence[Any], Answered]) -> None:
        """Send these commands in one piece, as a pipeline does."""
        self._asked.extend(answered for _, answered in calls)
        self._send(b"".join(_packed(*words) for words, _ in calls))

    def listen(self, channel: str) -> None:
        """Subscribe; from now on everything goes to `heard`."""
        self._send(_packed("SUBSCRIBE", channel))

    def ping(self) -> None:
        """Of a subscriber: its answer goes to `heard`."""
        self._send(_packed("PING"))

    def ready(self, events: int) -> None:
        """The selector has found something to do. Raises ConnectionError when the server has closed it."""
        if events & EVENT_WRITE:
            self._flush()
        if events & EVENT_READ:
            self._read()

    def close(self) -> None:
        """Gone, as when the kernel closes a dead process' sockets."""
        self._selector.unregister(self._socket)
        self._socket.close()

    def _send(self, packed: bytes) -> None:
        waits = bool(self._unsent)
        self._unsent += packed
        if not waits:
            self._flush()

    def _flush(self) -> None:
        with suppress(BlockingIOError):
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        self._selector.modify(self._socket, EVENT_READ | (EVENT_WRITE if self._unsent else 0), self)

    def _read(self) -> None:
        chunk = self._socket.recv(CHUNK)
        if not chunk:
            raise ConnectionError("the server closed a connection")
        self._reader.feed(chunk)
        while (answer := self._reader.gets()) is not False:
            if isinstance(answer, hiredis.ReplyError):
                raise answer
            (self._asked.popleft() if self._asked else self._heard)(answer)


def _packed(*words: Any) -> bytes:
    packed: bytes = hiredis.pack_command(words)
    return packed
