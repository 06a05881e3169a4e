"""A way to a server that a test may cut off: connections through it are reset, or stand still for a while."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from urllib.parse import urlsplit, urlunsplit

from app.up.processes import free_port

CHUNK = 64 * 1024
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: close by a reset


class Proxy:
    """A proxy that listens on a port of its own as soon as it is made; one thread carries everything."""

    def __init__(self, url: str) -> None:
        self.server_url = url
        self._to = urlsplit(url)
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._servers: set[socket.socket] = set()
        self._lock = threading.Lock()  # held while bytes move: who holds it makes everything stand still
        self._over = False
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()

    @property
    def url(self) -> str:
        """The server's URL through the proxy."""
        host = f"{self._to.netloc.rpartition('@')[0]}@127.0.0.1:{self.port}"
        return urlunsplit(self._to._replace(netloc=host))

    @property
    def ports(self) -> set[int]:
        """The ports of our ends of the connections to the server."""
        with self._lock:
            return {end.getsockname()[1] for end in self._servers}

    def reset(self) -> None:
        """Reset every connection."""
        with self._lock:
            for end in list(self._peers):
                self._drop(end)

    def stall(self, seconds: float) -> None:
        """Carry nothing and accept nobody for `seconds`."""
        with self._lock:
            time.sleep(seconds)

    def close(self) -> None:
        self._over = True
        self._thread.join()
        self.reset()
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._over:
            ready = self._selector.select(0.05)
            with self._lock:
                for key, _ in ready:
                    assert isinstance(key.fileobj, socket.socket)
                    self._carry(key.fileobj)

    def _carry(self, end: socket.socket) -> None:
        if end is self._listener:
            client, _ = end.accept()
            server = socket.create_connection((self._to.hostname or "", self._to.port or 0))
            self._servers.add(server)
            for one, other in ((client, server), (server, client)):
                self._peers[one] = other
                self._selector.register(one, selectors.EVENT_READ)
        elif end in self._peers:  # not dropped since it was found ready
            try:
                chunk = end.recv(CHUNK)
                self._peers[end].sendall(chunk)
            except OSError:
                chunk = b""
            if not chunk:
                self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        if end not in self._peers:
            return
        for each in (end, self._peers.pop(end)):
            self._peers.pop(each, None)
            self._servers.discard(each)
            self._selector.unregister(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            each.close()
