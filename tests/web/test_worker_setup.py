"""What admins set of workers and do to them over HTTP: one, many, or those that a filter finds."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

from app.ledger import blocks, events, groups, waiting
from app.ledger.registry import setups, workers
from app.ledger.registry.setups import Setup
from app.pool.model import WorkerId
from app.pool.policy import Policy
from tests.kit.actors import join as join_worker
from tests.kit.actors import running, tell
from tests.kit.web import Facts, Web, wrong

NOBODY = "0" * 12


@pytest.fixture
def worker(web: Web) -> str:
    """A worker's id, in a pool that has the group farm."""
    groups.create(web.ledger, "farm", None)
    return str(web.join()["worker"])


def patched(web: Web, worker: str, body: Facts) -> Facts:
    answered = web.ask("PATCH", f"/admin/workers/{worker}", web.admin, json=body)
    assert answered.status_code == 200, answered.text
    return dict(answered.get_json())


def acted(web: Web, status: int, **body: object) -> list[tuple[str | None, bool, str]]:
    """What became of an action: name, whether it was good, and why."""
    answered = web.ask("POST", "/admin/workers/actions", web.admin, json=body)
    assert answered.status_code == status, answered.text
    items = answered.get_json()["items"]
    assert answered.get_json()["done"] == sum(item["ok"] for item in items)
    return [(item["name"], item["ok"], item["detail"]) for item in items]


def told(web: Web, worker: str) -> str:
    return events.listed(web.ledger, worker=WorkerId(worker))[0].sentence


def test_what_is_set_is_shown_and_what_is_not_named_stays(web: Web, worker: str) -> None:
    shown = patched(web, worker, {"tags": ["optix", "cuda-12", "optix"], "groups": ["farm"], "slots": 4})
    assert (shown["tags"], shown["groups"]) == (["cuda-12", "optix"], ["farm"])
    assert (shown["slots"], shown["slots_wanted"], shown["slots_offered"]) == (4, 4, 1)
    shown = patched(web, worker, {"queue_depth": 3, "workflows": ["burn"]})
    assert (shown["tags"], shown["slots"], shown["queue_depth"]) == (["cuda-12", "optix"], 4, 3)
    assert (shown["workflows"], shown["allowed_workflows"], shown["offered_workflows"]) == (["burn"],) * 3
    shown = patched(web, worker, {"slots": None, "queue_depth": None, "workflows": [], "tags": []})
    assert (shown["slots"], shown["queue_depth"], shown["allowed_workflows"], shown["tags"]) == (1, None, [], [])


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"tags": ["high vram"]}, "/tags/0", "a letter or a digit, then letters, digits and . _ : + - only"),
        ({"tags": ["ok", "-x"]}, "/tags/1", "at most 64 characters"),
        ({"tags": [f"t{n}" for n in range(65)]}, "/tags", "at most 64"),
        ({"groups": ["farm", "barn"]}, "/groups/1", "there is no group barn"),
        ({"workflows": ["transcode"]}, "/workflows/0", "it does not offer transcode; it offers burn"),
        ({"slots": 0}, "/slots", "greater than or equal to 1"),
        ({"slots": 65}, "/slots", "less than or equal to 64"),
        ({"slots": "2"}, "/slots", "valid integer"),
        ({"queue_depth": 1001}, "/queue_depth", "less than or equal to 1000"),
        ({"queue_depth": -1}, "/queue_depth", "greater than or equal to 0"),
        ({"name": "x"}, "/name", "not permitted"),
    ],
)
def test_a_bad_field_is_named_with_its_limit_and_nothing_is_changed(
    web: Web, worker: str, body: Facts, field: str, words: str
) -> None:
    good: Facts = {"tags": ["good"]} if "tags" not in body else {"slots": 2}
    before = web.ask("GET", f"/admin/workers/{worker}", web.admin).headers["ETag"]
    assert words in wrong(web.ask("PATCH", f"/admin/workers/{worker}", web.admin, json={**good, **body}))[field]
    assert web.ask("GET", f"/admin/workers/{worker}", web.admin).headers["ETag"] == before


def test_the_etag_is_of_what_people_set_and_a_stale_change_is_refused(web: Web, worker: str) -> None:
    path = f"/admin/workers/{worker}"
    seen = web.ask("GET", path, web.admin).headers["ETag"]
    workers.note(web.ledger, [workers.Note(WorkerId(worker), "healthy", ("model:sdxl",), True)])
    assert web.ask("GET", path, web.admin).headers["ETag"] == seen
    for status in (200, 412):
        answered = web.ask("PATCH", path, web.admin, json={"tags": [str(status)]}, headers={"If-Match": seen})
        assert answered.status_code == status
    assert web.get(path)["tags"] == ["200"]
    assert web.ask("PATCH", path, web.admin, json={}, headers={"If-Match": "*"}).status_code == 200


def test_who_is_not_there_is_said_so(web: Web) -> None:
    assert web.ask("PATCH", f"/admin/workers/{NOBODY}", web.admin, json={}).status_code == 404
    assert acted(web, 200, action="tag", workers=[NOBODY], tags=["x"]) == [(None, False, "there is no such worker")]


def test_many_are_tagged_with_a_result_for_each(web: Web, worker: str) -> None:
    other = web.join(web.offer("render-2"))["worker"]
    patched(web, other, {"tags": [f"t{n}" for n in range(64)]})
    which = [worker, other, NOBODY]
    assert acted(web, 200, action="tag", workers=which, tags=["optix"]) == [
        ("render-1", True, "tags + optix"),
        ("render-2", False, "would have 65 tags; a worker has at most 64"),
        (None, False, "there is no such worker"),
    ]
    assert acted(web, 200, action="tag", workers=[worker], tags=["optix"]) == [
        ("render-1", True, "had nothing to change")
    ]
    assert told(web, worker) == "root changed render-1: tags + optix"
    workers.note(web.ledger, [workers.Note(WorkerId(worker), "healthy", ("model:sdxl",), True)])
    [(_, good, why)] = acted(web, 200, action="untag", workers=[worker], tags=["model:sdxl"])
    assert not good and "reported by its agent" in why
    assert acted(web, 200, action="untag", workers=[worker], tags=["optix"]) == [("render-1", True, "tags − optix")]


def test_what_an_action_does_not_read_may_be_sent_empty(web: Web, worker: str) -> None:
    empty: Facts = {"tags": [], "groups": [], "note": "", "for_s": None, "until": None, "workflow": None}
    [(_, good, _)] = acted(web, 202, action="pause", workers=[worker], **empty)
    assert good


def test_a_worker_is_in_no_more_groups_than_its_form_takes(web: Web, worker: str) -> None:
    many = [f"g{number}" for number in range(65)]
    for name in many:
        groups.create(web.ledger, name, None)
    assert acted(web, 200, action="group", workers=[worker], groups=many[:64])[0][1]
    refused = "would have 65 groups; a worker has at most 64"
    assert acted(web, 200, action="group", workers=[worker], groups=many[64:]) == [("render-1", False, refused)]
    body = {"workers": [worker]}
    answered = web.ask("PATCH", f"/admin/groups/{many[64]}", web.admin, json=body)
    assert wrong(answered) == {"/workers/0": f"render-1 {refused}"}
    assert patched(web, worker, {"groups": many[:64], "slots": 2})["slots"] == 2


def test_an_action_may_name_its_workers_by_the_fleets_filter(web: Web, worker: str) -> None:
    for name in ("render-2", "encode-1"):
        web.join(web.offer(name))
    names = [name for name, _, _ in acted(web, 200, action="group", filter={"host": ["render"]}, groups=["farm"])]
    assert names == ["render-1", "render-2"]
    assert [w["name"] for w in web.get("/admin/workers?group=farm")["items"]] == names
    assert len(acted(web, 200, action="ungroup", filter={}, groups=["farm"])) == 3
    assert acted(web, 200, action="ungroup", filter={"host": ["nowhere"]}, groups=["farm"]) == []


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"action": "tag", "workers": [NOBODY]}, "/tags", "at least one tag"),
        ({"action": "ungroup", "workers": [NOBODY]}, "/groups", "at least one group"),
        ({"action": "group", "workers": [NOBODY], "groups": ["barn"]}, "/groups/0", "there is no group barn"),
        ({"action": "tag", "tags": ["a"]}, "/workers", "either workers or a filter"),
        ({"action": "tag", "tags": ["a"], "workers": [NOBODY], "filter": {}}, "/workers", "either workers or a filter"),
        ({"action": "tag", "tags": ["a b"], "workers": [NOBODY]}, "/tags/0", "then letters, digits"),
        ({"action": "tag", "tags": ["a"], "workers": []}, "/workers", "at least 1"),
        ({"action": "tag", "tags": ["a"], "filter": {"colour": ["red"]}}, "/filter/colour", "not permitted"),
        ({"action": "dance", "workers": [NOBODY]}, "/action", "'tag', 'untag'"),
        ({"action": "pause", "workers": [NOBODY], "for_s": 0}, "/for_s", "greater than or equal to 1"),
        ({"action": "tag", "workers": [NOBODY], "tags": ["a"], "groups": ["farm"]}, "/groups", "tag does not read it"),
        ({"action": "resume", "workers": [NOBODY], "note": "x"}, "/note", "resume does not read it"),
        ({"action": "resume", "workers": [NOBODY], "for_s": 60}, "/for_s", "resume does not read it"),
        ({"action": "unblock", "workers": [NOBODY], "until": "2120-01-01T00:00:00Z"}, "/until", "unblock does not"),
        ({"action": "pause", "workers": [NOBODY], "workflow": "burn"}, "/workflow", "pause does not read it"),
    ],
)
def test_an_action_that_makes_no_sense_is_refused_as_a_whole(web: Web, body: Facts, field: str, words: str) -> None:
    assert words in wrong(web.ask("POST", "/admin/workers/actions", web.admin, json=body))[field]


def test_a_worker_is_paused_and_resumed(web: Web, worker: str) -> None:
    path = f"/admin/workers/{worker}"
    web.services.redis.delete("pool:generation")
    answered = web.ask("POST", f"{path}/pause", web.admin, json={"for_s": 3600, "note": "driver update"})
    assert answered.status_code == 202
    paused = answered.get_json()
    assert (paused["intent"], paused["paused_by"], paused["paused_note"]) == ("paused", "root", "driver update")
    left = datetime.fromisoformat(paused["paused_until"]) - datetime.now(timezone.utc)
    assert timedelta(minutes=59) < left <= timedelta(minutes=60)
    until = (datetime.now(timezone.utc) + timedelta(days=1)).replace(microsecond=0)
    again = web.ask("POST", f"{path}/pause", web.admin, json={"until": until.isoformat()})
    assert datetime.fromisoformat(again.get_json()["paused_until"]) == until
    resumed = web.ask("POST", f"{path}/resume", web.admin)
    assert (resumed.status_code, resumed.get_json()["intent"], resumed.get_json()["paused_until"]) == (
        202,
        "active",
        None,
    )
    assert told(web, worker) == "root resumed render-1"
    refused = web.ask("POST", f"{path}/resume", web.admin)
    assert (refused.status_code, refused.get_json()["detail"]) == (409, "render-1 is active, not paused")
    assert web.ask("POST", f"/admin/workers/{NOBODY}/pause", web.admin, json={}).status_code == 404


def test_a_paused_worker_is_shown_with_who_until_when_and_why(web: Web) -> None:
    admission = web.join()
    web.beat(admission)
    path = f"/admin/workers/{admission['worker']}"
    web.ask("POST", f"{path}/pause", web.admin, json={"note": "driver update"})
    shown = web.get(path)
    assert (shown["status"], shown["reason"]) == ("paused", "by root, until somebody resumes it: driver update")


def test_a_pause_that_ends_in_the_past_or_twice_is_refused(web: Web, worker: str) -> None:
    path = f"/admin/workers/{worker}/pause"
    past = "2020-01-01T00:00:00Z"
    assert wrong(web.ask("POST", path, web.admin, json={"until": past})) == {"/until": "must lie ahead"}
    both = {"until": "2120-01-01T00:00:00Z", "for_s": 5}
    assert wrong(web.ask("POST", path, web.admin, json=both)) == {"/until": "name either until or for_s"}
    assert "/until" in wrong(web.ask("POST", path, web.admin, json={"until": "tomorrow"}))
    assert wrong(web.ask("POST", path, web.admin)) == {"": "must be a JSON object; send {} to say nothing more"}


def test_many_are_paused_and_resumed(web: Web, worker: str) -> None:
    other = web.join(web.offer("render-2"))["worker"]
    assert acted(web, 202, action="pause", filter={"host": ["render-1"]}) == [
        ("render-1", True, "paused until it is resumed"),
    ]
    assert acted(web, 202, action="resume", workers=[other, worker, NOBODY]) == [
        ("render-2", False, "is active, not paused"),
        ("render-1", True, "takes jobs again"),
        (None, False, "there is no such worker"),
    ]


def blocked(web: Web) -> str:
    """A worker that is blocked for burn."""
    good, bad = join_worker(web.ledger, "good"), join_worker(web.ledger, "bad")
    job = running(web.ledger, good)
    tell(web.ledger, good, job, 1, "end", end="succeeded")
    job = running(web.ledger, bad)
    tell(web.ledger, bad, job, 1, "end", end="failed", cause="workflow", error="no")
    other = running(web.ledger, good, None)
    tell(web.ledger, good, other, 1, "end", end="succeeded")
    with web.ledger.transaction() as tx:
        assert blocks.open_due(tx, bad.id, "burn", Policy(block_failures=1))
    return bad.id


def test_a_block_is_forgiven(web: Web) -> None:
    worker = blocked(web)
    path = f"/admin/workers/{worker}"
    assert "burn" in web.get(path)["blocked"]
    refused = web.ask("POST", f"{path}/unblock", web.admin, json={"workflow": "transcode"})
    assert (refused.status_code, refused.get_json()["detail"]) == (409, "bad was not blocked for transcode")
    answered = web.ask("POST", f"{path}/unblock", web.admin, json={})
    assert (answered.status_code, answered.get_json()["blocked"]) == (202, {})
    assert acted(web, 202, action="unblock", workers=[worker]) == [("bad", False, "was not blocked")]


def test_the_blocks_of_many_are_forgiven_by_one_statement(web: Web, worker: str, statements: Counter[str]) -> None:
    bad = blocked(web)
    statements.clear()
    assert acted(web, 202, action="unblock", workers=[worker, bad, NOBODY]) == [
        ("render-1", False, "was not blocked"),
        ("bad", True, "is not blocked"),
        (None, False, "there is no such worker"),
    ]
    assert (statements["blocks_forgive"], statements["events_record_of_workers"]) == (1, 1)
    assert told(web, bad) == "bad may run burn again: root forgave it"


def test_each_verb_rings_the_coordinator(web: Web, worker: str) -> None:
    other = web.join(web.offer("render-2"))["worker"]
    with web.services.redis.pubsub() as heard:
        heard.subscribe(web.services.keys.bell)
        heard.get_message(timeout=5)
        patched(web, worker, {"tags": ["a"]})
        web.ask("POST", f"/admin/workers/{worker}/pause", web.admin, json={})
        acted(web, 200, action="tag", workers=[worker, other], tags=["b"])
        rung = [heard.get_message(ignore_subscribe_messages=True, timeout=5) for _ in range(3)]
    assert [each["data"] for each in rung] == [f"worker {worker}"] * 2 + ["workers"]


@pytest.mark.parametrize("kind", ["read", "creator"])
def test_only_admins_set_anything(web: Web, worker: str, kind: str) -> None:
    token = web.token(kind, "eve")
    for method, path in (
        ("PATCH", f"/admin/workers/{worker}"),
        ("POST", f"/admin/workers/{worker}/pause"),
        ("POST", "/admin/workers/actions"),
        ("DELETE", "/admin/groups/farm"),
    ):
        assert web.ask(method, path, token, json={}).status_code == 403
    found = workers.find(web.ledger, WorkerId(worker))
    assert found is not None and setups.setup_of(found) == Setup((), (), (), None, None)
    assert waiting.count(web.ledger) == 0
