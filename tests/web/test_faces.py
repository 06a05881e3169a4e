"""What pages add to the application: history, files, notifications, errors for people, fragments."""

from __future__ import annotations

import io
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from werkzeug.test import TestResponse

from app.ledger import events, sessions
from app.ledger.registry import workers
from app.pool.model import Health, WorkerId
from app.web.http import uploads
from app.web.http.sessions import secret_key
from app.web.http.uploads import UPLOAD_BYTES
from tests.kit.web import HTML, Web, signed_in


def upload(web: Web, name: str, contents: bytes = b"clip") -> TestResponse:
    data = {"file": (io.BytesIO(contents), name)}
    return web.ask("POST", "/files", web.creator, data=data, content_type="multipart/form-data")


def test_a_worker_s_transitions_are_paged_newest_first(web: Web) -> None:
    joined = web.join()
    worker = workers.find(web.ledger, WorkerId(joined["worker"]))
    assert worker
    workers.set_health(web.ledger, worker, Health.DOWN, "silence", "down")
    first = web.get(f"/admin/workers/{worker.id}/transitions?limit=1")
    assert [(item["from"], item["to"], item["cause"]) for item in first["items"]] == [("healthy", "down", "silence")]
    second = web.get(f"/admin/workers/{worker.id}/transitions?limit=1&cursor={first['next']}")
    assert [(item["from"], item["to"]) for item in second["items"]] == [(None, "healthy")]
    assert second["next"] is None
    assert web.ask("GET", "/admin/workers/000000000000/jobs", web.admin).status_code == 404
    assert web.get(f"/admin/workers/{worker.id}/jobs") == {"items": [], "next": None}


def test_an_upload_is_kept_whole_and_never_in_place_of_another(web: Web) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: upload(web, "../a clip.mp4", b"%d" % n).get_json(), range(4)))
    folder = web.services.settings.home / "input"
    assert {item["path"] for item in made} == {str(folder / f"a_clip{n}.mp4") for n in ("", "-2", "-3", "-4")}
    assert sorted(path.read_text() for path in folder.iterdir()) == ["0", "1", "2", "3"]


def test_an_upload_that_is_too_large_or_nameless_is_refused(web: Web) -> None:
    claimed = {"CONTENT_LENGTH": str(UPLOAD_BYTES + 1)}
    large = web.ask(
        "POST", "/files", web.creator, content_type="multipart/form-data; boundary=x", environ_overrides=claimed
    )
    assert upload(web, "..").status_code == 422
    assert large.status_code == 413
    reader = web.token("read", "eve")
    assert web.ask("POST", "/files", reader, json={}).status_code == 403


def test_the_form_proposes_the_newest_files_and_no_hidden_ones(web: Web) -> None:
    upload(web, "one.mp4")
    (web.services.settings.home / "input" / ".upload-x").write_text("half")
    assert uploads.newest_files(web.services.settings) == [str(web.services.settings.home / "input" / "one.mp4")]


def test_notifications_are_an_owner_s_own_and_read_once(web: Web) -> None:
    events.tell(web.ledger, "ann", "job.moved", "It moved.", about="1")
    events.tell(web.ledger, "ben", "job.moved", "His moved.", about="2")
    told = web.get("/notifications", web.creator)
    assert (told["unread"], [item["sentence"] for item in told["items"]]) == (1, ["It moved."])
    path = f"/notifications/{told['items'][0]['id']}/read"
    assert [web.ask("POST", path, web.creator).get_json() for _ in range(2)] == [{"marked": 1}, {"marked": 0}]
    assert web.ask("POST", "/notifications/read", web.creator).get_json() == {"marked": 0}
    assert web.get("/notifications", web.creator)["items"][0]["read_at"]


def test_a_path_that_does_not_exist_is_a_page_for_people_and_a_problem_for_programs(web: Web) -> None:
    page = web.client.get("/nowhere", headers=HTML)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert web.client.get("/nowhere").mimetype == "application/problem+json"


@pytest.mark.parametrize("path", ["/jobs", "/notifications"])
def test_where_page_and_resource_share_a_path_accept_decides(web: Web, path: str) -> None:
    client = signed_in(web, web.admin)
    page = client.get(path, headers=HTML)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert {"Accept", "Cookie", "Authorization"} <= set(page.vary)
    assert web.ask("GET", path, web.admin).mimetype == "application/json"


def test_a_fragment_that_has_not_changed_is_304_and_one_that_has_is_sent(web: Web) -> None:
    client = signed_in(web, web.admin)
    first = client.get("/ui/jobs")
    assert client.get("/ui/jobs", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    web.submit(name="new")
    again = client.get("/ui/jobs", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 200 and "new" in again.text


def test_a_fragment_for_nobody_leads_the_whole_page_to_login(web: Web) -> None:
    answered = web.app.test_client().get("/ui/jobs", headers={"HX-Request": "true"})
    assert (answered.status_code, answered.headers["HX-Redirect"]) == (401, "/login")


def test_a_session_is_stored_by_its_hash_and_ends_with_its_time(web: Web) -> None:
    client = signed_in(web, web.admin)
    with client.session_transaction() as session:
        secret = session["sid"]
    assert sessions.find(web.ledger, secret)
    sessions.end(web.ledger, secret)
    assert client.get("/", headers=HTML).status_code == 303


def test_a_page_says_so_when_a_store_is_away(web: Web) -> None:
    web.join()
    client = signed_in(web, web.admin)
    web.services.redis.close()
    web.services.redis.connection_pool.connection_kwargs["port"] = 1  # nobody listens there
    web.services.redis.connection_pool.reset()  # a connection that was open once knows its own port
    page = client.get("/", headers=HTML)
    assert page.status_code == 503 and "Redis does not answer at the moment; nothing was lost" in page.text
    assert client.get("/jobs", headers=HTML).status_code == 200


def test_only_people_s_tokens_open_the_pages(web: Web) -> None:
    client = web.app.test_client()
    page = client.get("/login").text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    form = {"csrf_token": found[1], "token": web.token("join", "root")}
    assert client.post("/ui/login/begin", data=form).status_code == 422


def test_the_key_that_signs_cookies_is_kept_once_for_all_processes(web: Web) -> None:
    settings = web.services.settings
    keyless = replace(settings, secret_key=None)
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(lambda _: secret_key(keyless), range(8)))
    assert len(keys) == 1 and len(keys.pop()) == 64
    assert stat.S_IMODE((settings.home / "secret-key").stat().st_mode) == 0o600
