"""Posts portions to the web server, over one connection that is kept while the server keeps it."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlencode, urlsplit

from agent.log.spool import Portion
from app.pool.codec import plain

CALL_S = 10.0
MOST_ANSWER_BYTES = 64 * 1024
POST_ERRORS = (OSError, http.client.HTTPException)


class Posting:
    """The way to one server. The environment's proxies are for the internet: it is called directly."""

    def __init__(self, server: str, token: str) -> None:
        self._server = urlsplit(server)
        self._token = token
        self._connection: http.client.HTTPConnection | None = None

    def post(self, portion: Portion, packed: bytes) -> int:
        """The status of the answer. Raises one of POST_ERRORS when there is none; may be repeated."""
        kept = self._connection is not None
        try:
            return self._post(portion, packed)
        except POST_ERRORS:
            self._close()
            if not kept:
                raise
        # The server may have given the old connection up, which says nothing about the server.
        try:
            return self._post(portion, packed)
        except POST_ERRORS:
            self._close()
            raise

    def _post(self, portion: Portion, packed: bytes) -> int:
        self._connection = connection = self._connection or self._connect()
        connection.request("POST", self._path(portion), packed, self._headers())
        answer = connection.getresponse()
        if len(answer.read(MOST_ANSWER_BYTES)) == MOST_ANSWER_BYTES or answer.will_close:
            self._close()  # what is left of it is nothing that we read
        return answer.status

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._server.scheme == "https" else http.client.HTTPConnection
        return kind(self._server.hostname or "", self._server.port, timeout=CALL_S)

    def _path(self, portion: Portion) -> str:
        places = {name: json.dumps(value) for name, value in plain(portion.head).items()}
        number = places.pop("number")
        return f"{self._server.path}/agent/v1/logs/{portion.job}/{portion.attempt}/{number}?{urlencode(places)}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", "Content-Type": "application/octet-stream"}

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
