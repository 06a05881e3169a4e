"""rq-dashboard's buttons, pressed on live queues, lose no job and run none twice."""

from __future__ import annotations

import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest
from redis import Redis

from app.pool import keys
from app.pool.model import WorkerId
from app.pool.settings import redis_urls
from tests.kit.services import eventually
from tests.kit.whole_pool import WholePool

DEPTH = 3


class Browser:
    """Signs in by a token and presses buttons, as a person's browser would."""

    def __init__(self, server: str, token: str) -> None:
        self._server = server
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self._opener.addheaders = [("Accept", "text/html")]
        form = self.get("/login")
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)
        assert found
        self._send("/ui/login/begin", {"csrf_token": found[1], "token": token})

    def get(self, path: str) -> str:
        with self._opener.open(self._server + path, timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    def press(self, path: str) -> Any:
        """POST it with the CSRF token of the cookie, as rq-dashboard's scripts do."""
        self.get("/queues/")
        mine = {cookie.name: cookie.value for cookie in self._cookies}
        return json.loads(self._send(path, {}, {"X-CSRFToken": urllib.parse.unquote(mine["_csrf_token"] or "")}))

    def _send(self, path: str, form: dict[str, str], headers: dict[str, str] | None = None) -> str:
        request = urllib.request.Request(
            self._server + path, urllib.parse.urlencode(form).encode(), headers or {}, method="POST"
        )
        with self._opener.open(request, timeout=20) as answer:
            text: str = answer.read().decode()
            return text


@pytest.mark.timeout(150)
def test_empty_delete_and_requeue_lose_no_job_and_run_none_twice(pool: WholePool) -> None:
    pool.start("--workers", "1")
    worker = WorkerId(eventually(pool.healthy_workers, 20)[0]["id"])
    _deepen(pool)
    holder = _submit(pool, seconds=600)
    eventually(lambda: _job(pool, holder)["state"] == "running", 20)
    waiting = [_submit(pool, seconds=0) for _ in range(DEPTH)]
    url = (pool.home / "valkey" / "url").read_text().strip()
    rq = Redis.from_url(redis_urls({"REDIS_URL": url})[1])
    queue = f"rq:queue:{keys.queue(worker)}"
    eventually(lambda: rq.llen(queue) == DEPTH, 20)
    browser = Browser(pool.server, pool.token)

    assert browser.press(f"/queues/queue/{keys.queue(worker)}/queued/empty")["status"] == "OK"
    eventually(lambda: rq.llen(queue) == DEPTH, 40)  # noticed, and given out anew
    lost = keys.envelope_id(worker, waiting[0], _job(pool, waiting[0])["attempt"])
    assert browser.press(f"/queues/job/{lost}/delete")["status"] == "OK"
    pool.client.delete(f"/jobs/{holder}")
    eventually(lambda: all(_job(pool, job)["state"] == "succeeded" for job in waiting), 60)

    done = keys.envelope_id(worker, waiting[1], _job(pool, waiting[1])["attempt"])
    # RQ itself requeues only what failed.
    assert _refused(lambda: browser.press(f"/queues/job/{done}/requeue")) == 500
    rq.rpush(queue, done)  # what a requeue does
    eventually(lambda: rq.llen(queue) == 0, 20)
    last = _submit(pool, seconds=0)
    eventually(lambda: _job(pool, last)["state"] == "succeeded", 30)
    for job in waiting:
        attempts = pool.client.get(f"/jobs/{job}/attempts")["items"]
        assert [each["end"] for each in attempts if each["started_at"]] == ["succeeded"]
    rq.close()


@pytest.mark.timeout(90)
def test_the_queues_are_for_admins_and_change_by_post_alone(pool: WholePool) -> None:
    pool.start("--no-agent")
    made = pool.client.post("/admin/tokens", {"kind": "creator", "owner": "ana"})
    creator, admin = Browser(pool.server, made["secret"]), Browser(pool.server, pool.token)

    assert _refused(lambda: creator.get("/queues/")) == 403
    assert _refused(lambda: admin.get("/queues/requeue/w-any")) == 405
    for bare in (
        urllib.request.Request(f"{pool.server}/queues/"),
        urllib.request.Request(f"{pool.server}/queues/queue/w-any/queued/empty", b"", method="POST"),
    ):
        with urllib.request.urlopen(bare, timeout=20) as answer:
            assert "/login" in answer.url
    assert pool.token not in admin.get("/queues/")


def _refused(call: Any) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        call()
    with caught.value as error:
        return error.code


def _deepen(pool: WholePool) -> None:
    """Let envelopes lie behind the slot."""
    headers = {"Authorization": f"Bearer {pool.token}", "Content-Type": "application/json"}
    body = json.dumps({"queue_depth": DEPTH}).encode()
    request = urllib.request.Request(f"{pool.server}/admin/settings", body, headers, method="PATCH")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert json.loads(answer.read())["queue_depth"] == DEPTH


def _submit(pool: WholePool, seconds: int) -> Any:
    return pool.client.post("/jobs", {"workflow": "burn", "params": {"seconds": seconds}})["id"]


def _job(pool: WholePool, job: str) -> Any:
    return pool.client.get(f"/jobs/{job}")
