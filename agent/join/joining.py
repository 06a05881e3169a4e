"""Joining: the agent says what it is, proves its way to Redis and to the outputs, and confirms.

Only the confirmation makes it a worker. The new token is stored before it: the confirmation ends the older tokens, and
an agent that dies in between must not be left without one. Nothing here decides: each check is the server's, has a
name, and when it fails says the next step. A join takes 30 s at most.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import redis

from agent.join.identity import PoolMembership, load_membership, save_membership
from agent.redis_client import connect
from app.pool.agent_http import Admission, Offer
from app.pool.codec import from_plain, to_json
from app.pool.errors import PoolError, Unavailable
from app.pool.keys import JOIN_MS, Keys
from app.pool.loop import Bell
from app.pool.protocol import Wanted
from app.pool.settings import AgentSettings

JOIN_S = 30.0
CALL_S = 5.0
MOST_BYTES = 1024 * 1024
GET_ADMITTED = "make a join token (`python -m app token create --kind join --owner NAME`) and set MUSTER_JOIN_TOKEN"

# The server is called directly, whatever proxy the environment names for the internet.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class JoinRefused(PoolError):
    """The pool does not take this agent as it is; the message names the check and the next step."""

    def __init__(self, check: str, detail: str, next_step: str) -> None:
        super().__init__(f"join refused, check {check!r}: {detail}; {next_step}")


class JoinStopped(Exception):
    """The agent was asked to stop before it had joined."""


@dataclass(frozen=True)
class Joined:
    """A confirmed join: what the worker is, and what the coordinator wants of it."""

    admission: Admission
    wanted: Wanted


class Joining:
    """One agent's way into its pool. `admitted` is called before the server may call the agent's address."""

    def __init__(self, settings: AgentSettings, bell: Bell, admitted: Callable[[Admission], None]) -> None:
        self._settings = settings
        self._bell = bell
        self._admitted = admitted

    def join(self, offer: Offer) -> Joined:
        """Join with this offer. Raises JoinRefused, Unavailable when the server cannot be reached, JoinStopped.

        It may be repeated: what was not confirmed has changed nothing.
        """
        end = time.monotonic() + JOIN_S
        with _proof(self._settings.output_folder) as (file, text):
            admission = self._admission(replace(offer, proof_file=file, proof_text=text))
            older = load_membership(self._settings.home)
            save_membership(self._settings.home, PoolMembership(admission.worker, (admission.token, *older.tokens)))
            _answer(admission)
            self._admitted(admission)
            wanted = self._confirmed(admission, end)
        save_membership(self._settings.home, PoolMembership(admission.worker, (admission.token,)))
        return Joined(admission, wanted)

    def _admission(self, offer: Offer) -> Admission:
        """Ask to join, by the worker's own token where that is still good, else by the join token."""
        membership = load_membership(self._settings.home)
        for token in membership.tokens:
            status, answer = self._post("/agent/v1/join", token, replace(offer, worker=membership.worker))
            if status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                return _admission(status, answer)
        if self._settings.join_token is None:
            raise JoinRefused("token", "there is no token that this server knows", GET_ADMITTED)
        return _admission(*self._post("/agent/v1/join", self._settings.join_token, offer))

    def _confirmed(self, admission: Admission, end: float) -> Wanted:
        """Confirm, and ask again while the worker's present incarnation seems to live (202)."""
        answer: dict[str, Any] = {}
        while time.monotonic() < end:
            status, answer = self._post(f"/agent/v1/join/{admission.join}/confirm", admission.token, None)
            if status == HTTPStatus.OK:
                return from_plain(Wanted, answer["wanted"])
            if status != HTTPStatus.ACCEPTED:
                raise _refused(status, answer)
            self._wait(min(float(answer.get("retry_after_s", 1.0)), end - time.monotonic()))
        raise _failed_check(answer, JoinRefused("alone", f"not confirmed within {JOIN_S:g} s", "try again"))

    def _wait(self, seconds: float) -> None:
        if not self._bell.wait(seconds):
            raise JoinStopped

    def _post(self, path: str, token: str, body: Offer | None) -> tuple[int, dict[str, Any]]:
        """Call the server. Returns (status, JSON). Raises Unavailable when it does not answer, or cannot now."""
        request = urllib.request.Request(
            self._settings.server + path,
            data=to_json(body).encode() if body else b"{}",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method="POST",
        )
        if self._bell.stopped:
            raise JoinStopped
        try:
            status, text = _call(request)
        except (OSError, ValueError) as error:  # ValueError: not HTTP what answered
            raise Unavailable(f"{self._settings.server} does not answer: {getattr(error, 'reason', error)}") from error
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Unavailable(f"{self._settings.server} answers {status}")
        return status, _object(text)


def _call(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with _opener.open(request, timeout=CALL_S) as response:
            return response.status, response.read(MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(MOST_BYTES)


def _object(text: bytes) -> dict[str, Any]:
    """The JSON object of an answer; an empty one when it is something else, such as a proxy's page."""
    with contextlib.suppress(ValueError):
        answer = json.loads(text)
        if isinstance(answer, dict):
            return answer
    return {}


def _admission(status: int, answer: dict[str, Any]) -> Admission:
    if status == HTTPStatus.CREATED:
        return from_plain(Admission, answer)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise JoinRefused("token", str(answer.get("detail") or "the server refuses the join token"), GET_ADMITTED)
    raise _refused(status, answer)


def _refused(status: int, answer: dict[str, Any]) -> JoinRefused:
    detail = str(answer.get("detail") or answer.get("title") or f"the server answers {status}")
    wrong = "".join(f" [{error.get('pointer')}: {error.get('detail')}]" for error in answer.get("errors") or [])
    return _failed_check(answer, JoinRefused("offer", detail + wrong, "is MUSTER_SERVER a Muster of this version?"))


def _failed_check(answer: dict[str, Any], otherwise: JoinRefused) -> JoinRefused:
    for check in answer.get("checks") or []:
        if not check.get("ok"):
            return JoinRefused(str(check.get("name")), str(check.get("detail")), str(check.get("next_step")))
    return otherwise


def _answer(admission: Admission) -> None:
    """Prove the way to Redis by writing the answer there. Raises JoinRefused when there is none."""
    client = connect(admission.redis_url)
    try:
        client.set(Keys(admission.prefix).join(admission.nonce), admission.answer, px=JOIN_MS)
    except redis.RedisError as error:
        step = "the Redis that the server names to agents (MUSTER_AGENT_REDIS_URL) must be reachable from this host"
        raise JoinRefused("redis", str(error), step) from error
    finally:
        client.close()


@contextlib.contextmanager
def _proof(folder: Path) -> Iterator[tuple[str, str]]:
    """Write a file into the shared folder for as long as the join lasts; (name, text). Raises JoinRefused."""
    file, text = folder / f".join-{secrets.token_hex(8)}", secrets.token_hex(16)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        step = "MUSTER_OUTPUT must name a folder that this user may write and that the server sees too"
        raise JoinRefused("output", f"{folder}: {error.strerror}", step) from error
    try:
        yield file.name, text
    finally:
        file.unlink(missing_ok=True)
