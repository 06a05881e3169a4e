"""The web application over real stores, asked by its test client; workers join it as agents do."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.actions.services import Services
from app.ledger import tokens
from app.ledger.db import Ledger
from app.pool.codec import plain, to_json
from app.pool.protocol import Beat
from app.pool.settings import ServerSettings
from tests.kit.actors import know, offer

Facts = dict[str, Any]
HTML = {"Accept": "text/html,*/*;q=0.8"}


def server_settings(home: Path, database_url: str, redis_url: str, rq_url: str) -> ServerSettings:
    """The settings of a server over these stores, with its outputs below `home`."""
    return ServerSettings(
        home=home,
        database_url=database_url,
        redis_url=redis_url,
        rq_redis_url=rq_url,
        agent_redis_url=redis_url,
        agent_rq_redis_url=rq_url,
        prefix="pool:",
        input_folders=(),
        output_folder=home / "output",
        secret_key="of this test",
    )


@dataclass
class Web:
    """One application with its stores, and tokens of each kind."""

    app: Flask
    services: Services

    def __post_init__(self) -> None:
        self.admin = self.token("admin", "root")
        self.creator = self.token("creator", "ann")
        self.client = self.app.test_client()
        know(self.ledger, "burn", "transcode")  # what tests submit, and no worker of theirs need offer

    @property
    def ledger(self) -> Ledger:
        return self.services.ledger

    def token(self, kind: str, owner: str, **rest: Any) -> str:
        return tokens.create(self.ledger, kind, owner, **rest)[1]

    def ask(self, method: str, path: str, token: str | None, **rest: Any) -> TestResponse:
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **rest.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, buffered=True, **rest)

    def get(self, path: str, token: str | None = None) -> Any:
        """The JSON that an admin (or this token) gets; fails on an error."""
        answered = self.ask("GET", path, token or self.admin)
        assert answered.status_code == 200, answered.text
        return answered.get_json()

    def submit(self, token: str | None = None, **body: Any) -> Any:
        """The job that a creator (or this token) submits."""
        answered = self.ask("POST", "/jobs", token or self.creator, json={"workflow": "burn", **body})
        assert answered.status_code == 201, answered.text
        return answered.get_json()

    def refused(self, body: Facts, token: str | None = None) -> dict[str, str]:
        """What is wrong with this submission, by field."""
        return wrong(self.ask("POST", "/jobs", token or self.creator, json={"workflow": "burn", **body}))

    def offer(self, name: str = "render-1", **rest: Any) -> Facts:
        """The offer that an agent posts to join; its proof lies in the outputs."""
        self.services.settings.output_folder.mkdir(exist_ok=True)
        (self.services.settings.output_folder / ".join-1").write_text("here")
        facts: Facts = plain(offer(name))
        return {**facts, "proof_file": ".join-1", "proof_text": "here", **rest}

    def begin(self, offered: Facts | None = None, token: str | None = None, answers: bool = True) -> Facts:
        """An admission, answered in Redis."""
        token = token or self.token("join", "root")
        answered = self.ask("POST", "/agent/v1/join", token, json=offered or self.offer())
        assert answered.status_code == 201, answered.text
        admission: Facts = answered.get_json()
        if answers:
            self.services.redis.set(f"pool:join:{admission['nonce']}", admission["answer"], px=60_000)
        return admission

    def confirm(self, admission: Facts) -> TestResponse:
        return self.ask("POST", f"/agent/v1/join/{admission['join']}/confirm", admission["token"], json={})

    def join(self, offered: Facts | None = None, token: str | None = None) -> Facts:
        """An admission that was confirmed."""
        admission = self.begin(offered, token)
        answered = self.confirm(admission)
        assert answered.status_code == 200, answered.text
        return admission

    def beat(self, admission: Facts, ttl_ms: int = 35_000, **rest: Any) -> None:
        """Write one beat of the worker."""
        beat = Beat(admission["worker"], admission["incarnation"], 1, 15_000, ttl_ms, "b", 1, 1, **rest)
        self.services.redis.set(f"pool:beat:{beat.worker}", to_json(beat), px=ttl_ms)


def wrong(answered: TestResponse) -> dict[str, str]:
    """The fields that a 422 names."""
    assert answered.status_code == 422, answered.text
    assert answered.mimetype == "application/problem+json"
    return {each["pointer"]: each["detail"] for each in json.loads(answered.text)["errors"]}


def signed_in(web: Web, token: str) -> FlaskClient:
    """A browser's client that has signed in."""
    client = web.app.test_client()
    page = client.get("/login").text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    answered = client.post("/ui/login/begin", data={"csrf_token": found[1], "token": token})
    assert answered.status_code == 303
    return client
