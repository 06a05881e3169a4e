"""Groups over HTTP: made, filled, renamed, deleted; jobs that are bound to them are never forgotten."""

from __future__ import annotations

import pytest

from app.ledger import events, groups, jobs
from app.pool.model import JobId
from tests.kit.web import Facts, Web, wrong


def make(web: Web, name: str = "farm", **rest: object) -> Facts:
    answered = web.ask("POST", "/admin/groups", web.admin, json={"name": name, **rest})
    assert answered.status_code == 201, answered.text
    assert answered.headers["ETag"]
    return dict(answered.get_json())


def told(web: Web) -> str:
    return events.listed(web.ledger)[0].sentence


def test_a_group_is_made_filled_and_listed(web: Web) -> None:
    one, two = web.join(web.offer("one"))["worker"], web.join(web.offer("two"))["worker"]
    made = make(web, strategy="round-robin", workers=[one])
    assert (made["strategy"], made["workers"], made["waiting"], made["running"]) == ("round-robin", [one], 0, 0)
    assert web.get(f"/admin/workers/{one}")["groups"] == ["farm"]
    changed = web.ask("PATCH", "/admin/groups/farm", web.admin, json={"workers": [two], "strategy": None})
    assert (changed.get_json()["workers"], changed.get_json()["strategy"]) == ([two], None)
    assert web.get(f"/admin/workers/{one}")["groups"] == []
    assert [group["name"] for group in web.get("/admin/groups")["items"]] == ["farm"]
    assert web.get("/admin/workers?group=farm")["items"][0]["id"] == two
    assert groups.strategies(web.ledger) == {}


def test_a_second_group_of_one_name_is_refused(web: Web) -> None:
    make(web)
    assert web.ask("POST", "/admin/groups", web.admin, json={"name": "farm"}).status_code == 409
    make(web, "barn")
    answered = web.ask("PATCH", "/admin/groups/barn", web.admin, json={"name": "farm", "strategy": "round-robin"})
    assert answered.status_code == 409 and "there is a group farm already" in answered.text
    assert web.get("/admin/groups/barn")["strategy"] is None  # all or none


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"name": "the farm"}, "/name", "letters, digits and . _ : + - only"),
        ({"name": "farm\n"}, "/name", "letters, digits"),
        ({"name": "f" * 65}, "/name", "at most 64 characters"),
        ({"name": "farm", "strategy": "random"}, "/strategy", "least-loaded"),
        ({"name": "farm", "workers": ["0" * 12]}, "/workers/0", f"there is no worker {'0' * 12}"),
        ({"name": "farm", "color": "red"}, "/color", "not permitted"),
        ({}, "/name", "required"),
    ],
)
def test_a_group_that_cannot_be_made_is_told_why(web: Web, body: Facts, field: str, words: str) -> None:
    assert words in wrong(web.ask("POST", "/admin/groups", web.admin, json=body))[field]
    assert web.get("/admin/groups")["items"] == []


def test_a_rename_takes_waiting_jobs_along_and_a_retry_of_an_ended_one_follows(web: Web) -> None:
    make(web)
    waiting, over = web.submit(group="farm"), web.submit(group="farm")
    web.ask("DELETE", f"/jobs/{over['id']}", web.creator)
    answered = web.ask("PATCH", "/admin/groups/farm", web.admin, json={"name": "barn"})
    assert (answered.get_json()["name"], answered.get_json()["waiting"]) == ("barn", 1)
    assert web.get(f"/jobs/{waiting['id']}")["group"] == "barn"
    assert web.get(f"/jobs/{over['id']}")["group"] == "farm"  # as it was then
    again = web.ask("POST", f"/jobs/{over['id']}/retry", web.creator)
    assert again.get_json()["group"] == "barn"
    assert web.ask("GET", "/admin/groups/farm", web.admin).status_code == 404
    assert web.refused({"group": "farm"}) == {"/group": "there is no group farm"}
    assert told(web) == "root renamed the group farm to barn"


def test_a_group_that_jobs_wait_for_is_deleted_only_with_a_word_about_them(web: Web) -> None:
    make(web)
    make(web, "barn")
    job = web.submit(group="farm")["id"]
    refused = web.ask("DELETE", "/admin/groups/farm", web.admin)
    assert refused.status_code == 409
    assert "1 waiting job is bound to farm; name another group" in refused.get_json()["detail"]
    assert wrong(web.ask("DELETE", "/admin/groups/farm?move_to=attic", web.admin)) == {
        "?move_to": "there is no group attic"
    }
    assert wrong(web.ask("DELETE", "/admin/groups/farm?move_to=farm", web.admin)) == {"?move_to": "name another group"}
    assert web.ask("DELETE", "/admin/groups/farm?move_to=barn", web.admin).status_code == 204
    assert web.get(f"/jobs/{job}")["group"] == "barn"
    assert told(web) == "root deleted the group farm; its jobs go to barn"
    assert web.ask("DELETE", "/admin/groups/barn?force=true", web.admin).status_code == 204
    assert web.get(f"/jobs/{job}")["state"] == "pending"
    assert told(web) == "root deleted the group barn; 1 waiting job is bound to barn"
    web.ask("DELETE", f"/jobs/{job}", web.creator)
    assert wrong(web.ask("POST", f"/jobs/{job}/retry", web.creator)) == {"/group": "the group barn was deleted"}
    assert web.ask("DELETE", "/admin/groups/barn", web.admin).status_code == 404


def test_a_group_without_jobs_is_deleted_and_its_members_leave_it(web: Web) -> None:
    worker = web.join()["worker"]
    make(web, workers=[worker])
    assert web.ask("DELETE", "/admin/groups/farm", web.admin).status_code == 204
    assert web.get(f"/admin/workers/{worker}")["groups"] == []


def test_of_two_who_change_a_group_the_second_is_told(web: Web) -> None:
    seen = web.ask("POST", "/admin/groups", web.admin, json={"name": "farm"}).headers["ETag"]
    web.submit(group="farm")  # which is not what people set of it
    for method, status in (("PATCH", 200), ("PATCH", 412), ("DELETE", 412)):
        answered = web.ask(
            method,
            "/admin/groups/farm" + ("?force=true" if method == "DELETE" else ""),
            web.admin,
            json={"strategy": "round-robin"} if method == "PATCH" else None,
            headers={"If-Match": seen},
        )
        assert answered.status_code == status, answered.text
    newest = web.ask("GET", "/admin/groups/farm", web.admin).headers["ETag"]
    gone = web.ask("DELETE", "/admin/groups/farm?force=true", web.admin, headers={"If-Match": newest})
    assert gone.status_code == 204


def test_a_change_rings_the_coordinator(web: Web) -> None:
    with web.services.redis.pubsub() as heard:
        heard.subscribe(web.services.keys.bell)
        heard.get_message(timeout=5)
        make(web)
        assert heard.get_message(ignore_subscribe_messages=True, timeout=5)["data"] == "groups"


def test_only_admins_change_groups(web: Web) -> None:
    make(web)
    reader = web.token("read", "eve")
    assert web.ask("GET", "/admin/groups", reader).status_code == 200
    assert web.ask("PATCH", "/admin/groups/farm", reader, json={}).status_code == 403
    assert web.ask("GET", "/admin/groups", web.creator).status_code == 403
    job = web.submit(group="farm")  # whom creators may target nevertheless
    found = jobs.find(web.ledger, JobId(job["id"]))
    assert found is not None and found.spec.requirement.group == "farm"


def test_a_strategy_that_is_what_it_was_is_no_change(web: Web) -> None:
    make(web, strategy="round-robin")
    assert told(web) == "root created the group farm"
    for body in ({"strategy": "round-robin"}, {"workers": [], "strategy": "round-robin"}):
        assert web.ask("PATCH", "/admin/groups/farm", web.admin, json=body).status_code == 200
    assert told(web) == "root created the group farm"
    web.ask("PATCH", "/admin/groups/farm", web.admin, json={"strategy": None})
    assert told(web) == "root set strategy of farm = the pool’s"
