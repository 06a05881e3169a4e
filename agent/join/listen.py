"""Listening: on the worker's bell in Redis, which is also its presence, and on its announced address.

Neither decides anything. A ring says "look now"; whoever calls the address hears which incarnation
answers. The subscription is main's own connection: when main dies the kernel closes it.
"""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis

from agent.beat.connect import connect
from app.pool.backoff import Backoff, Outage
from app.pool.codec import to_json
from app.pool.errors import SettingsError
from app.pool.protocol import WhoIs
from app.pool.subscription import listen

log = logging.getLogger(__name__)

MOST_PAUSE_S = 0.1  # between tries to be present again: half of what presence may be missed for
CALLER_S = 2.0  # a caller that says nothing for so long is dropped


class Ear:
    """Subscribed to one channel for as long as the process lives; `run` is a thread's.

    `rung` is called in it, with a client to look with.
    """

    def __init__(
        self, url: str, channel: str, rung: Callable[[redis.Redis], None], subscribed: Callable[[], None]
    ) -> None:
        self._url = url
        self._channel = channel
        self._rung = rung
        self._subscribed = subscribed  # whatever was rung before is lost: the callee looks at everything
        self._lost = Outage(log, "bell lost")

    def run(self) -> None:
        """Listen; a lost connection is replaced at once, then with small pauses."""
        while True:
            try:
                self._listen()
            except redis.RedisError as error:
                time.sleep(self._lost.failed(error, Backoff(0.01, MOST_PAUSE_S), at_once=True))

    def _listen(self) -> None:
        with connect(self._url) as client, client.pubsub() as pubsub:
            pubsub.subscribe(self._channel)
            listen(pubsub, lambda message: self._heard(message["type"], client))

    def _heard(self, kind: str, client: redis.Redis) -> None:
        if kind == "subscribe":
            self._lost.over()
            self._subscribed()
        elif kind == "message":
            self._rung(client)


class Address:
    """The port on which callers are told who is here; open from the beginning, answering once it knows."""

    def __init__(self, host: str, port: int) -> None:
        """Raises SettingsError when it cannot listen there."""
        try:
            self._server = _Server(host, port)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host} port {port} (MUSTER_ADDRESS, MUSTER_AGENT_PORT): {error}"
            ) from error
        self.port = int(self._server.server_address[1])

    def introduce(self, who: WhoIs) -> None:
        """From now on callers are answered this."""
        self._server.who = to_json(who).encode()

    def run(self) -> None:
        """Answer; a thread's."""
        self._server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.who = b""
        super().__init__((host, port), _Caller)

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hung up is nobody's fault."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("address: a call failed")


class _Caller(BaseHTTPRequestHandler):
    server: _Server
    timeout = CALLER_S

    def do_GET(self) -> None:
        """`/` says who is here."""
        known = self.path == "/" and self.server.who
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if known:
            self.wfile.write(self.server.who)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: calls come with every join and every doubt."""
