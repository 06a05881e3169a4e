"""The announced address: a port that tells every caller which incarnation of which worker listens there.

The server calls it to check a join, and the coordinator when it doubts a worker. It decides nothing.
"""

from __future__ import annotations

import logging
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from app.pool.agent_http import WhoIs
from app.pool.codec import to_json
from app.pool.errors import SettingsError

log = logging.getLogger(__name__)

CALLER_S = 2.0  # after which a caller that says nothing is dropped


class Address:
    """A port that is open from the beginning, and answers once it knows who listens there."""

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
        """Answer callers with this from now on."""
        self._server.who = to_json(who).encode()

    def run(self) -> None:
        """Answer callers; for a thread of its own."""
        self._server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.who = b""
        super().__init__((host, port), _Caller)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a failure, unless the caller has hung up, which is nobody's fault."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("address: a call failed")


class _Caller(BaseHTTPRequestHandler):
    server: _Server
    timeout = CALLER_S

    def do_GET(self) -> None:
        """Answer `/` with who listens here."""
        is_known = self.path == "/" and self.server.who
        self.send_response(200 if is_known else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if is_known:
            self.wfile.write(self.server.who)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: calls come with every join and every doubt."""
