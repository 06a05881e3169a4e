"""The command line's way to the server: HTTP, a bearer token, errors as one clear line."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from app.pool.errors import PoolError, SettingsError, Unavailable
from app.pool.model import Json
from app.pool.settings import DEFAULT_PORT, home_folder

CALL_S = 30
BATCH_S = 300  # of thousands of jobs, perhaps over a slow line
RETRY_S = 1.0
PAGE = 200  # the most that a list gives at once
# A pool's server is called directly, whatever proxy the environment names for the internet.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

QueryParameters = Mapping[str, str | int | bool | None | Sequence[str]]


class ServerRefused(PoolError):
    """The server said no; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unanswered(Unavailable):
    """No answer came, or only a part of one; the server may have done what was asked for."""


@dataclass(frozen=True)
class Client:
    """Calls one server with one token. Every call raises PoolError: ServerRefused, Unanswered, Unavailable."""

    server: str
    token: str | None
    call_s: float = CALL_S

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Client:
        """A client by MUSTER_SERVER and MUSTER_TOKEN, by default those of the local home. Raises SettingsError."""
        home = home_folder(environ)
        local = _line(home / "server") or f"http://127.0.0.1:{DEFAULT_PORT}"
        server = (environ.get("MUSTER_SERVER") or local).rstrip("/")
        if urlsplit(server).scheme not in ("http", "https"):
            raise SettingsError(f"MUSTER_SERVER is {server!r}; give an http:// or https:// address")
        # The local admin's token is for the local server only: another one could keep it.
        token = environ.get("MUSTER_TOKEN") or (_line(home / "admin-token") if server == local.rstrip("/") else None)
        return cls(server, token)

    def get(self, path: str, query: QueryParameters | None = None) -> Any:
        """The JSON that GET answers."""
        return self._json("GET", path, None, query)

    def post(
        self,
        path: str,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
        query: QueryParameters | None = None,
    ) -> Any:
        """The JSON that POST answers."""
        return self._json("POST", path, body, query, headers)

    def submit(self, path: str, body: Json, anyway: bool = False) -> Any:
        """The JSON that POST answers to a submission; sent again where the answer was lost, and done once.

        `anyway`: jobs of workflows that no worker has ever offered are taken too.
        """
        key = {"Idempotency-Key": str(uuid.uuid4())}
        query = {"allow_unknown_workflow": "true"} if anyway else {}
        try:
            return self.post(path, body, key, query)
        except Unanswered:
            return self._again(path, body, key, query)

    def delete(self, path: str) -> Any:
        """The JSON that DELETE answers; None for an empty answer."""
        return self._json("DELETE", path)

    def pages(self, path: str, query: QueryParameters | None = None, most: float = inf) -> Iterator[Any]:
        """The items of a list, read page by page, at most `most`."""
        cursor: str | None = None
        while most > 0:
            page = self.get(path, {**(query or {}), "limit": int(min(most, PAGE)), "cursor": cursor})
            yield from page["items"]
            most -= len(page["items"])
            cursor = page["next"]
            if cursor is None:
                return

    def _json(
        self,
        method: str,
        path: str,
        body: Json = None,
        query: QueryParameters | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        try:
            text = self._answer(self._request(method, path, body, query, headers or {}))
        except (OSError, HTTPException) as error:
            raise self._unanswered(error) from error
        return json.loads(text) if text else None

    def _again(self, path: str, body: Json, key: Mapping[str, str], query: QueryParameters) -> Any:
        deadline = time.monotonic() + self.call_s
        while True:
            try:
                return self.post(path, body, key, query)
            except ServerRefused as refused:
                # The server may still be at work on the first request; it will have the answer in a moment.
                if refused.status != HTTPStatus.CONFLICT or time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_S)

    def _request(
        self, method: str, path: str, body: Json, query: QueryParameters | None, headers: Mapping[str, str]
    ) -> urllib.request.Request:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return urllib.request.Request(
            self.server + path + (f"?{urlencode(given, doseq=True)}" if given else ""),
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",
                **headers,
                **self._authorization(),
            },
            method=method,
        )

    def _answer(self, request: urllib.request.Request) -> bytes:
        try:
            with _opener.open(request, timeout=self.call_s) as response:
                text: bytes = response.read()
                return text
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code, error.read(), self.token) from None

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _unanswered(self, error: Exception) -> Unanswered:
        why = getattr(error, "reason", error)
        return Unanswered(
            f"no server answers at {self.server} ({why}); start one with `make up`, or set MUSTER_SERVER to yours"
        )


def _refused(status: int, text: bytes, token: str | None) -> PoolError:
    try:
        problem = json.loads(text)
        lines = [problem.get("detail") or problem["title"]]
        lines += [f"  {each['pointer']}: {each['detail']}" for each in problem.get("errors", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        lines = [f"the server answers {status}; is MUSTER_SERVER a Muster server?"]
    if status == 401:
        lines.append("set MUSTER_TOKEN to a token of this server" + ("" if token else "; none is set"))
    return Unavailable(lines[0]) if status == 503 else ServerRefused(status, "\n".join(lines))


def _line(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
