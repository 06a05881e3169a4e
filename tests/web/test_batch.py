"""Many jobs in one request: all of them or none, in their order, harmless to repeat."""

from __future__ import annotations

from collections import Counter
from typing import Any

from werkzeug.test import TestResponse

from app.ledger import jobs, waiting
from tests.kit.web import Web, wrong


def post(web: Web, *bodies: Any, token: str | None = None, **headers: str) -> TestResponse:
    return web.ask("POST", "/jobs/batch", token or web.creator, json={"jobs": list(bodies)}, headers=headers)


def test_ten_thousand_jobs_are_kept_by_one_statement_in_their_order(web: Web, statements: Counter[str]) -> None:
    answered = post(web, *({"workflow": "burn", "name": str(number)} for number in range(10_000)))
    assert answered.status_code == 201, answered.text
    items = answered.get_json()["items"]
    assert [job["name"] for job in items] == [str(number) for number in range(10_000)]
    assert {(job["owner"], job["state"], job["waiting"]["why"]) for job in items} == {
        ("ann", "pending", "no worker offers burn")
    }
    assert (statements["jobs_submit"], max(statements.values())) == (1, 1)
    assert waiting.count(web.ledger) == 10_000
    newest = jobs.listed(web.ledger, limit=2)
    assert [job.spec.name for job in newest] == ["9999", "9998"]


def test_one_bad_entry_is_named_and_none_is_kept(web: Web) -> None:
    good = {"workflow": "burn"}
    assert wrong(post(web, good, {"workflow": "burn", "priority": 101}, {})).keys() == {
        "/jobs/1/priority",
        "/jobs/2/workflow",
    }
    web.join(web.offer(workflows=[{"name": "burn", "runner": "python", "parameters": [{"name": "s", "type": "int"}]}]))
    assert wrong(post(web, good, {**good, "group": "night"}, {**good, "params": {"s": "long"}})) == {
        "/jobs/1/group": "there is no group night",
        "/jobs/2/params/s": "must be a whole number",
    }
    assert waiting.count(web.ledger) == 0


def test_a_creator_names_no_other_owner_and_an_admin_does(web: Web) -> None:
    bodies = [{"workflow": "burn"}, {"workflow": "burn", "owner": "eve"}]
    refused = post(web, *bodies)
    assert (refused.status_code, "/jobs/1/owner" in refused.get_json()["detail"]) == (403, True)
    assert waiting.count(web.ledger) == 0
    assert [job["owner"] for job in post(web, *bodies, token=web.admin).get_json()["items"]] == ["root", "eve"]
    assert post(web, *bodies, token=web.token("read", "viewer")).status_code == 403


def test_the_limits_are_named(web: Web) -> None:
    assert "at most 10000 items" in wrong(post(web, *[{"workflow": "burn"}] * 10_001))["/jobs"]
    assert wrong(post(web)).keys() == {"/jobs"}
    large = {"workflow": "burn", "params": {"text": "x" * 60_000}}
    refused = post(web, *[large] * 300)
    assert (refused.status_code, "16777216 bytes" in refused.get_json()["detail"]) == (413, True)
    assert post(web, *[large] * 30).status_code == 201
    refused = web.ask("POST", "/jobs", web.creator, json={**large, "name": "x" * 1_000_000})
    assert (refused.status_code, "1048576 bytes" in refused.get_json()["detail"]) == (413, True)


def test_repeated_with_its_key_a_batch_is_answered_again_and_kept_once(web: Web) -> None:
    first = post(web, {"workflow": "burn"}, {"workflow": "transcode"}, **{"Idempotency-Key": "k"})
    again = post(web, {"workflow": "burn"}, {"workflow": "transcode"}, **{"Idempotency-Key": "k"})
    assert first.get_json() == again.get_json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert post(web, {"workflow": "burn"}, **{"Idempotency-Key": "k"}).status_code == 422
    assert waiting.count(web.ledger) == 2


def test_one_bell_rings_for_all(web: Web) -> None:
    with web.services.redis.pubsub(ignore_subscribe_messages=True) as bell:
        bell.subscribe("pool:bell")
        bell.get_message(timeout=5)
        post(web, *[{"workflow": "burn"}] * 3)
        web.services.ring("end")
        messages = [bell.get_message(timeout=5) for _ in range(2)]
    assert [message and message["data"] for message in messages] == ["jobs", "end"]
