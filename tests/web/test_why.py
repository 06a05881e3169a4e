"""Why a job waits, asked over HTTP: the filters that fill the sets, and the record of each placement."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from app.ledger import waiting
from app.ledger.registry import pauses
from app.pool.model import Intent, WorkerId
from app.web.shapes import why
from tests.kit.web import Web, signed_in

RECORD: dict[str, Any] = {
    "strategy": "least-loaded",
    "score": 0.1,
    "queued": False,
    "load": 0.1,
    "parts": {"gpu": {"share": 0.2, "measured": True}, "queue": {"share": 0.0, "measured": True}, "vram": None},
}


def joined(web: Web, name: str, **rest: Any) -> WorkerId:
    admission = web.join(web.offer(name, machine_id=name, **rest))
    web.beat(admission)
    return WorkerId(admission["worker"])


def test_every_filter_says_how_many_and_whom_it_turned_away(web: Web) -> None:
    full, paused, other = joined(web, "full"), joined(web, "paused"), joined(web, "other", workflows=[])
    pauses.set_intents(web.ledger, [paused], Intent.PAUSED)
    web.services.redis.hset(f"pool:lease:{full}", "0" * 12, '{"attempt": 1, "state": "given", "slots": 1}')
    answered = web.get(f"/jobs/{web.submit()['id']}/why")
    assert {each["filter"]: (each["workers"], each["first"][0]["id"]) for each in answered["filters"]} == {
        "slots": (1, full),
        "paused": (1, paused),
        "workflow": (1, other),
    }
    assert answered["summary"] == "3 workers: 1 is paused, 1 is full, 1 does not offer burn"
    web.services.redis.delete(f"pool:lease:{full}")
    answered = web.get(f"/jobs/{web.submit()['id']}/why")
    assert (answered["ready"], answered["first_ready"][0]["id"]) == (1, full)


def test_a_change_of_tags_is_heard_of_at_once(web: Web) -> None:
    worker = joined(web, "render-1")
    job = web.submit(requires=["optix"])["id"]
    assert "1 lacks optix" in web.get(f"/jobs/{job}/why")["summary"]
    web.ask("PATCH", f"/admin/workers/{worker}", web.admin, json={"tags": ["optix"]})
    assert "1 could take it now" in web.get(f"/jobs/{job}/why")["summary"]


def test_a_creator_asks_of_own_jobs_only(web: Web) -> None:
    job = web.submit()["id"]
    assert web.get(f"/jobs/{job}/why", web.creator)["summary"] == "no worker has joined the pool yet"
    assert web.ask("GET", f"/jobs/{job}/why", web.token("creator", "eve")).status_code == 404


def test_a_placed_job_says_who_won_and_who_came_next(web: Web) -> None:
    won, next_one = joined(web, "won"), joined(web, "next")
    record = {**RECORD, "runners_up": [{"worker": next_one, "score": 0.3, "queued": False}]}
    job = web.submit()["id"]
    assert waiting.assign(web.ledger, [waiting.Assignment(job, 1, won, 1, placement=record)]).keys() == {job}
    answered = web.get(f"/jobs/{job}/why")
    assert (answered["waiting"], answered["filters"], answered["workers"]) == (None, [], None)
    [placement] = answered["placements"]
    assert (placement["worker_name"], placement["parts"]["gpu"]["share"]) == ("won", 0.2)
    assert [each["worker_name"] for each in placement["runners_up"]] == ["next"]


def test_the_page_of_a_placed_job_tells_who_won_by_what_and_who_came_next(web: Web) -> None:
    won, next_one = joined(web, "won"), joined(web, "next")
    parts = {**RECORD["parts"], "vram": {"share": 0.25, "measured": False}}
    record = {**RECORD, "parts": parts, "runners_up": [{"worker": next_one, "score": 0.3, "queued": True}]}
    job = web.submit()["id"]
    assert waiting.assign(web.ledger, [waiting.Assignment(job, 1, won, 1, placement=record)]).keys() == {job}
    for token, sees in ((web.admin, True), (web.creator, False)):
        page = signed_in(web, token).get(f"/jobs/{job}?why=1", headers={"Accept": "text/html"}).text
        told = re.sub("<[^>]+>", "", page.split('id="why"')[1])
        told = html.unescape(told)
        assert "By least-loaded: score 0.1; load 0.1 (utilisation 20 %" in told
        assert ", queue 0 %" in told and ", memory 25 %, not measured: others' mean" in told
        assert ("Attempt 1: won won" in told) is sees
        assert ("then next, score 0.3, a place behind its slots" in told) is sees
        assert (f'/workers/{next_one}"' in page) is sees


def test_a_large_fleet_costs_so_many_looks_and_says_so(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(why, "LOOKED_AT", 1)
    for name in ("a", "b", "c"):
        joined(web, name)
    answered = web.get(f"/jobs/{web.submit()['id']}/why")
    assert (answered["workers"], answered["ready"], answered["not_looked_at"]) == (3, 1, 2)
    assert "2 more would fit" in answered["summary"]


def test_the_page_tells_it_by_a_plain_link_and_hides_hosts_from_creators(web: Web) -> None:
    worker = joined(web, "render-01", workflows=[])
    job = web.submit()["id"]
    for token, sees in ((web.admin, True), (web.creator, False)):
        person = signed_in(web, token)
        plain = person.get(f"/jobs/{job}", headers={"Accept": "text/html"}).text
        told = person.get(f"/jobs/{job}?why=1", headers={"Accept": "text/html"}).text
        fragment = person.get(f"/ui/jobs/{job}/why").text
        assert "does not offer burn" not in plain.split('id="why"')[1]
        for text in (told, fragment):
            assert "1 worker: 1 does not offer burn" in text
            assert (f'/workers/{worker}"' in text) is sees


def test_creators_are_told_no_hosts(web: Web) -> None:
    won, other = joined(web, "won-01"), joined(web, "other-02")
    pauses.set_intents(web.ledger, [other], Intent.PAUSED, by="root", note="fans of rack 7")
    placed, pending = web.submit()["id"], web.submit()["id"]
    record = {**RECORD, "runners_up": [{"worker": other, "score": 0.3, "queued": False}]}
    waiting.assign(web.ledger, [waiting.Assignment(placed, 1, won, 1, placement=record)])
    for job in (placed, pending):
        told, all_of_it = (str(web.get(f"/jobs/{job}/why", token)) for token in (web.creator, web.admin))
        assert "won-01" in all_of_it
        assert not [word for word in ("won-01", "other-02", won, other, "rack 7") if word in told]
    assert "1 is paused" in web.get(f"/jobs/{pending}/why", web.creator)["summary"]
