"""Every error is problem+json with the request's id; whoever may not is told why."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.pool.settings import ServerSettings
from app.web.app import create_app
from app.web.http.services import EXTENSION
from tests.kit.web import Web

NOWHERE = "127.0.0.1:1"


def is_problem(answered: TestResponse, status: int) -> dict[str, Any]:
    problem: dict[str, Any] = answered.get_json(force=True)
    assert (answered.status_code, answered.mimetype) == (status, "application/problem+json")
    assert problem["status"] == status
    assert re.fullmatch("[0-9a-f]{16}", problem["request_id"])
    assert answered.headers["X-Request-Id"] == problem["request_id"]
    return problem


def test_a_path_that_is_not_there_is_404(web: Web) -> None:
    assert is_problem(web.client.get("/nowhere"), 404)["instance"] == "/nowhere"
    is_problem(web.ask("GET", "/jobs/000000000000", web.admin), 404)
    is_problem(web.ask("GET", "/jobs/NOT-AN-ID", web.admin), 404)


def test_a_method_that_is_not_there_is_405_and_names_those_that_are(web: Web) -> None:
    answered = web.ask("PUT", "/jobs", web.admin)
    is_problem(answered, 405)
    assert "POST" in answered.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"workflow=burn", "application/x-www-form-urlencoded", 415),
        (b"{", "application/json", 400),
        (b'{"workflow": "burn", "params": {"x": NaN}}', "application/json", 400),
        (b'{"workflow": "burn", "params": {"x": 1e999}}', "application/json", 400),
        (b'{"workflow": "burn", "params": {"x": "\\u0000"}}', "application/json", 400),
        (b'{"workflow": "burn", "params": {"x": "\\ud800"}}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'"{}"', "application/json", 422),
        (b"", "application/json", 422),
        (b"{" + b" " * 1024 * 1024 + b"}", "application/json", 413),
    ],
)
def test_a_body_that_cannot_be_taken_is_said_so(web: Web, body: bytes, kind: str, status: int) -> None:
    is_problem(web.ask("POST", "/jobs", web.creator, data=body, content_type=kind), status)


def test_a_bug_is_500_and_tells_nothing_but_the_request_id(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("app.web.api.workflows.workflows.declared", broken)
    answered = web.ask("GET", "/workflows", web.admin)
    is_problem(answered, 500)
    assert "secret" not in answered.text


def test_without_a_good_token_it_is_401_with_a_challenge(web: Web) -> None:
    for token in (None, "mst_admin_guessed"):
        answered = web.ask("GET", "/jobs", token)
        is_problem(answered, 401)
        assert answered.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_token_is_401(web: Web) -> None:
    made = web.ask("POST", "/admin/tokens", web.admin, json={"kind": "creator", "owner": "eve"}).get_json()
    assert web.ask("GET", "/jobs", made["secret"]).status_code == 200
    assert web.ask("DELETE", f"/admin/tokens/{made['id']}", web.admin).status_code == 204
    assert web.ask("GET", "/jobs", made["secret"]).status_code == 401
    assert web.ask("DELETE", f"/admin/tokens/{made['id']}", web.admin).status_code == 404


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        ("creator", "GET", "/admin/workers"),
        ("creator", "GET", "/admin/tokens"),
        ("read", "POST", "/jobs"),
        ("read", "GET", "/admin/tokens"),
        ("join", "GET", "/jobs"),
        ("admin", "POST", "/agent/v1/join"),
    ],
)
def test_a_token_of_another_kind_is_403(web: Web, kind: str, method: str, path: str) -> None:
    is_problem(web.ask(method, path, web.token(kind, "eve"), json={}), 403)


def test_a_token_s_secret_is_shown_once(web: Web) -> None:
    made = web.ask("POST", "/admin/tokens", web.admin, json={"kind": "join", "owner": "root", "uses": 3}).get_json()
    listed = web.ask("GET", "/admin/tokens", web.admin)
    assert made["secret"].startswith("mst_join_")
    assert made["secret"] not in listed.text
    assert next(each for each in listed.get_json()["items"] if each["id"] == made["id"])["uses_left"] == 3


def test_every_answer_carries_the_security_headers(web: Web) -> None:
    for path in ("/healthz", "/nowhere", "/jobs"):
        headers = web.client.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_without_postgresql_it_is_503_with_retry_after(settings: ServerSettings) -> None:
    app = create_app(replace(settings, database_url=f"postgresql://x@{NOWHERE}/x"))
    answered = app.test_client().get("/jobs", headers={"Authorization": "Bearer mst_admin_x"})
    app.extensions[EXTENSION].close()
    assert "PostgreSQL" in is_problem(answered, 503)["detail"]
    assert int(answered.headers["Retry-After"]) > 0


def test_without_redis_a_job_is_taken_and_workers_are_503(web: Web, settings: ServerSettings) -> None:
    app = create_app(replace(settings, redis_url=f"redis://{NOWHERE}/1"))
    client, headers = app.test_client(), {"Authorization": f"Bearer {web.admin}"}
    web.join()  # without one there is nothing live to ask for
    taken = client.post("/jobs", json={"workflow": "burn"}, headers=headers)
    workers = client.get("/admin/workers", headers=headers)
    app.extensions[EXTENSION].close()

    assert taken.status_code == 201
    assert web.get(f"/jobs/{taken.get_json()['id']}")["state"] == "pending"
    assert "Redis" in is_problem(workers, 503)["detail"]
    assert int(workers.headers["Retry-After"]) > 0


def test_ready_names_each_thing_that_is_missing(web: Web, settings: ServerSettings) -> None:
    def failing(app: Any) -> set[str]:
        answered = app.test_client().get("/readyz")
        failed = {check["name"] for check in answered.get_json()["checks"] if not check["ok"]}
        assert answered.status_code == (503 if failed else 200)
        return failed

    away = create_app(replace(settings, redis_url=f"redis://{NOWHERE}/1", database_url=f"postgresql://x@{NOWHERE}/x"))
    assert failing(web.app) == {"coordinator"}
    assert failing(away) == {"postgresql", "redis", "migrations", "coordinator"}
    assert away.test_client().get("/healthz").status_code == 200
    away.extensions[EXTENSION].close()
