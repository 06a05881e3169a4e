"""The forms in which admins set workers and groups: what is bad is shown again, what is done is told once."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.ledger import groups
from app.ledger.registry import pauses, setups, workers
from app.ledger.registry.setups import Setup
from app.pool.model import Intent, WorkerId
from tests.kit.web import HTML, Web, signed_in


@pytest.fixture
def client(web: Web) -> FlaskClient:
    """An admin's browser."""
    return signed_in(web, web.admin)


@pytest.fixture
def worker(web: Web) -> str:
    """A worker's id, in a pool that has the group farm."""
    groups.create(web.ledger, "farm", None)
    return str(web.join()["worker"])


def hidden(client: FlaskClient, path: str) -> dict[str, str]:
    """The hidden fields of a page's first form with a version."""
    page = client.get(path, headers=HTML).text
    return {
        name: re.findall(f'name="{name}" value="([^"]*)"', page)[-1]
        for name in ("csrf_token", "version", "query")
        if f'name="{name}"' in page
    }


def post(client: FlaskClient, page: str, path: str, **fields: object) -> TestResponse:
    return client.post(path, data={**hidden(client, page), **fields})


def version(answered: TestResponse) -> str:
    """The one that the shown form carries."""
    return str(re.findall('name="version" value="([^"]*)"', answered.text)[0])


def setup(web: Web, worker: str) -> Setup:
    found = workers.find(web.ledger, WorkerId(worker))
    assert found is not None
    return setups.setup_of(found)


def intent(web: Web, worker: str) -> Intent:
    found = workers.find(web.ledger, WorkerId(worker))
    assert found is not None
    return found.intent


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tags": "good b/d"}, "letters, digits and . _ : + - only"),
        ({"groups": ["farm", "barn"]}, "there is no group barn"),
        ({"workflows": "transcode"}, "it does not offer transcode; it offers burn"),
        ({"slots": "many"}, "valid integer"),
        ({"slots": "--5"}, "valid integer"),
        ({"slots": "65"}, "less than or equal to 64"),
        ({"queue_depth": "-1"}, "greater than or equal to 0"),
    ],
)
def test_a_bad_setup_is_shown_again_as_it_was_written(
    web: Web, client: FlaskClient, worker: str, fields: dict[str, object], words: str
) -> None:
    answered = post(client, f"/workers/{worker}", f"/ui/workers/{worker}/change", **{"tags": "kept", **fields})
    assert answered.status_code == 422
    assert "Nothing was changed" in answered.text and words in answered.text
    assert f'value="{fields.get("tags", "kept")}"' in answered.text
    described = {"groups": "setup-groups-wrong", "workflows": "setup-workflows-help"}
    for field in fields.keys() & described:
        assert f'aria-describedby="{described[field]}"' in answered.text
        assert f'id="{described[field]}"' in answered.text
    assert setup(web, worker) == Setup((), (), (), None, None)


def test_an_empty_setup_is_the_agents_and_the_pools_own(web: Web, client: FlaskClient, worker: str) -> None:
    path = f"/ui/workers/{worker}/change"
    fields = {"tags": "b, a", "groups": "farm", "workflows": "burn", "slots": "2", "queue_depth": "0"}
    assert post(client, f"/workers/{worker}", path, **fields).status_code == 303
    assert setup(web, worker) == Setup(("a", "b"), ("farm",), ("burn",), 2, 0)
    assert post(client, f"/workers/{worker}", path).status_code == 303
    assert setup(web, worker) == Setup((), (), (), None, None)


def test_what_was_done_is_told_once_and_seen_at_once(web: Web, client: FlaskClient, worker: str) -> None:
    other = web.join(web.offer("render-2"))["worker"]
    assert pauses.set_intents(web.ledger, [WorkerId(other)], Intent.PAUSED)
    assert "night" not in client.get("/", headers=HTML).text  # which is kept for two seconds
    answered = post(client, "/", "/ui/workers/actions", action="tag", tags="night", worker=[worker, other])
    assert (answered.status_code, answered.location) == (303, "/")
    page = client.get("/", headers=HTML).text
    assert "render-1, render-2: tags + night." in page and 'href="/?tag=night"' in page
    assert "tags + night" not in client.get("/", headers=HTML).text
    post(client, "/", "/ui/workers/actions", action="resume", worker=[other, worker])
    page = client.get("/", headers=HTML).text
    bad = '<li class="wrong">render-1: is active, not paused.</li>'
    assert page.index(bad) < page.index('<li class="saved">render-2: takes jobs again.</li>')


def test_what_one_worker_is_set_to_is_seen_on_the_fleet_at_once(web: Web, client: FlaskClient, worker: str) -> None:
    def seen(word: str) -> bool:
        return word in client.get("/", headers=HTML).text

    web.beat({"worker": worker, "incarnation": 1})
    assert not seen('href="/?tag=night"')
    post(client, f"/workers/{worker}", f"/ui/workers/{worker}/change", tags="night", groups="farm")
    assert seen('href="/?tag=night"') and seen("in farm")
    post(client, f"/workers/{worker}", f"/ui/workers/{worker}/pause", note="fans of rack 7")
    assert seen("fans of rack 7")
    post(client, "/settings/groups/farm", "/ui/groups/farm/change", name="barn", workers=[worker])
    assert seen("in barn")


def test_many_different_results_fit_into_a_cookie(web: Web, client: FlaskClient) -> None:
    ids = [web.join(web.offer(f"{'render' * 9}-{number:03d}"))["worker"] for number in range(60)]
    numbers = {worker: number for number, worker in enumerate(ids)}
    setups.change(web.ledger, ids, lambda worker: Setup((f"t{numbers[worker.id] % 12}",), (), (), None, None), "ana")
    tags = " ".join(f"t{number}" for number in range(12))
    answered = post(client, "/", "/ui/workers/actions", action="untag", tags=tags, all="1", query="")
    assert len(answered.headers["Set-Cookie"]) < 4000
    assert "Of 30 more the page of each tells." in client.get("/", headers=HTML).text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"action": "tag", "tags": "x"}, "Tick at least one worker"),
        ({"action": "tag", "tags": "", "worker": "ID"}, "name at least one tag"),
        ({"action": "tag", "tags": "b/d", "worker": "ID"}, "letters, digits"),
        ({"action": "group", "groups": "barn", "worker": "ID"}, "there is no group barn"),
        ({"action": "group", "groups": "", "worker": "ID"}, "letters, digits"),
        ({"action": "dance", "worker": "ID"}, "Action: "),
        ({"action": "pause", "for_s": "soon", "worker": "ID"}, "valid integer"),
        ({"action": "pause", "note": "n" * 201, "worker": "ID"}, "at most 200 characters"),
    ],
)
def test_a_bad_action_changes_nothing_and_says_why(
    web: Web, client: FlaskClient, worker: str, fields: dict[str, object], words: str
) -> None:
    sent = {name: worker if value == "ID" else value for name, value in fields.items()}
    answered = post(client, "/", "/ui/workers/actions", **sent)
    assert answered.status_code == 422 and words in answered.text
    assert "Nothing was done. " in answered.text
    assert setup(web, worker) == Setup((), (), (), None, None)
    assert intent(web, worker) is Intent.ACTIVE


def test_a_bad_action_is_shown_again_as_it_was_written(web: Web, client: FlaskClient, worker: str) -> None:
    other = web.join(web.offer("render-2"))["worker"]
    fields = {"action": "untag", "tags": "old b/d", "query": "?status=!down"}
    page = post(client, "/", "/ui/workers/actions", **fields, worker=[worker]).text
    assert "Nothing was done. Tags: must be at most 64 characters" in page
    assert f'value="{worker}" autocomplete="off" checked' in page
    assert f'value="{other}" autocomplete="off" checked' not in page
    assert 'value="old b/d"' in page and 'value="untag" selected' in page and "<b>down</b>" in page
    page = post(client, "/", "/ui/workers/actions", action="pause", for_s="3600", note="n" * 201, all="1").text
    assert 'name="all" value="1" autocomplete="off" checked' in page
    assert 'value="3600" selected' in page and "n" * 201 in page


def test_a_worker_that_has_vanished_meanwhile_is_a_result_and_no_error(client: FlaskClient, worker: str) -> None:
    answered = post(client, "/", "/ui/workers/actions", action="pause", worker=["0" * 12, worker])
    assert answered.status_code == 303
    assert f"{'0' * 12}: there is no such worker." in client.get("/", headers=HTML).text
    post(client, "/", "/ui/workers/actions", action="tag", tags="x", all="1", query="?host=nowhere")
    assert "No worker matches any more" in client.get("/?host=nowhere", headers=HTML).text


def test_a_verb_that_comes_twice_is_told_and_no_error(web: Web, client: FlaskClient, worker: str) -> None:
    page = f"/workers/{worker}"
    for verb, words in (
        ("resume", "is active, not paused"),
        ("pause", "paused until it is resumed"),
        ("unblock", "was not blocked for burn"),
    ):
        answered = post(client, page, f"/ui/workers/{worker}/{verb}", workflow="burn")
        assert (answered.status_code, answered.location) == (303, page)
        assert words in client.get(page, headers=HTML).text
    assert intent(web, worker) is Intent.PAUSED


def test_nothing_is_done_without_the_forms_own_token(web: Web, client: FlaskClient, worker: str) -> None:
    for path in (f"/ui/workers/{worker}/pause", "/ui/workers/actions", "/ui/groups/create", "/ui/groups/farm/delete"):
        assert client.post(path, data={"worker": worker, "action": "pause", "name": "x"}).status_code == 400
    assert intent(web, worker) is Intent.ACTIVE and groups.names(web.ledger) == ["farm"]


def test_a_bad_or_stale_group_is_shown_again_and_changes_nothing(web: Web, client: FlaskClient, worker: str) -> None:
    answered = post(client, "/settings/groups", "/ui/groups/create", name="the farm")
    assert answered.status_code == 422 and 'value="the farm"' in answered.text
    answered = post(client, "/settings/groups", "/ui/groups/create", name="farm")
    assert answered.status_code == 409 and "There is a group farm already." in answered.text
    answered = post(
        client, "/settings/groups/farm", "/ui/groups/farm/change", name="b/rn", strategy="", workers=[worker]
    )
    assert answered.status_code == 422 and 'value="b/rn"' in answered.text
    assert f'value="{worker}" checked' in answered.text
    answered = post(client, "/settings/groups/farm", "/ui/groups/farm/change", name="farm", strategy="random")
    assert answered.status_code == 422
    fields = hidden(client, "/settings/groups/farm")
    groups.fill(web.ledger, "farm", [WorkerId(worker)], "ben")
    answered = client.post("/ui/groups/farm/change", data={**fields, "name": "barn"})
    assert answered.status_code == 412 and "Somebody has changed this meanwhile" in answered.text
    assert f'value="{worker}" checked' in answered.text
    assert groups.names(web.ledger) == ["farm"]
    assert client.get("/settings/groups/barn", headers=HTML).status_code == 404


def test_a_job_that_comes_while_a_group_is_being_deleted_is_not_forgotten(web: Web, client: FlaskClient) -> None:
    groups.create(web.ledger, "farm", None)
    fields = hidden(client, "/settings/groups/farm/delete")  # which says that no job waits for it
    web.submit(group="farm")
    answered = client.post("/ui/groups/farm/delete", data=fields)
    assert answered.status_code == 409 and "by now 1 waiting job is bound to farm. Choose below" in answered.text
    assert 'value="wait"' in answered.text and "move_to)" not in answered.text
    assert client.post("/ui/groups/farm/delete", data={**fields, "move_to": ""}).status_code == 409
    answered = client.post("/ui/groups/farm/delete", data={**fields, "then": "wait"})
    assert answered.status_code == 303 and groups.names(web.ledger) == []


def test_a_group_that_nothing_waits_for_goes_with_an_empty_choice(web: Web, client: FlaskClient) -> None:
    groups.create(web.ledger, "farm", None)
    answered = post(client, "/settings/groups/farm/delete", "/ui/groups/farm/delete", move_to="")
    assert answered.status_code == 303 and groups.successor(web.ledger, "farm") is None


def test_a_group_that_cannot_be_made_keeps_the_chosen_strategy(web: Web, client: FlaskClient) -> None:
    groups.create(web.ledger, "farm", None)
    for name, status in (("the farm", 422), ("farm", 409)):
        answered = post(client, "/settings/groups", "/ui/groups/create", name=name, strategy="round-robin")
        assert answered.status_code == status
        assert '<option value="round-robin" selected>' in answered.text


def test_what_a_worker_s_form_shows_again_does_not_undo_what_others_did_meanwhile(
    web: Web, client: FlaskClient, worker: str
) -> None:
    path = f"/ui/workers/{worker}/change"
    seen = hidden(client, f"/workers/{worker}")
    setups.change(web.ledger, [WorkerId(worker)], lambda _: Setup(("theirs",), (), (), None, None), "ben")
    shown = client.post(path, data={**seen, "tags": "mine", "slots": "many"})
    assert shown.status_code == 422 and version(shown) == seen["version"]
    again = client.post(path, data={**seen, "version": version(shown), "tags": "mine"})
    assert again.status_code == 412 and 'value="theirs"' in again.text
    assert client.post(path, data={**seen, "version": version(again), "tags": "mine"}).status_code == 303


@pytest.mark.parametrize(("name", "status"), [("b/rn", 422), ("barn", 409)])
def test_what_a_group_s_form_shows_again_does_not_undo_what_others_did_meanwhile(
    web: Web, client: FlaskClient, worker: str, name: str, status: int
) -> None:
    seen, path = hidden(client, "/settings/groups/farm"), "/ui/groups/farm/change"
    if status == 422:
        groups.fill(web.ledger, "farm", [WorkerId(worker)], "ben")
    groups.create(web.ledger, "barn", None)
    shown = client.post(path, data={**seen, "name": name})
    assert shown.status_code == status and version(shown) == seen["version"]
    groups.fill(web.ledger, "farm", [WorkerId(worker)], "ben")
    again = client.post(path, data={**seen, "version": version(shown), "name": "farm"})
    assert again.status_code == 412 and f'value="{worker}" checked' in again.text
    assert client.post(path, data={**seen, "version": version(again), "name": "farm"}).status_code == 303


def test_workers_of_one_name_are_told_apart(web: Web, client: FlaskClient) -> None:
    groups.create(web.ledger, "farm", None)
    ids = [web.join(web.offer("twin", machine_id=machine))["worker"] for machine in ("a", "b")]
    other = web.join(web.offer("single", machine_id="c"))["worker"]
    farm, fleet = (client.get(path, headers=HTML).text for path in ("/settings/groups/farm", "/"))
    for worker in ids:
        assert f"{worker[:6]}</span>" in farm and f"Select twin {worker[:6]}<" in fleet
    assert other[:6] + "</span>" not in farm and "Select single<" in fleet


def test_the_bar_offers_groups_only_where_there_are_some(web: Web, client: FlaskClient) -> None:
    worker = web.join()["worker"]
    page = client.get("/", headers=HTML).text
    assert "Add to group" not in page and 'name="groups"' not in page
    answered = post(client, "/", "/ui/workers/actions", action="unblock", worker=worker)
    assert answered.status_code == 303 and '<option value="unblock">' in page
    assert "was not blocked." in client.get("/", headers=HTML).text
    groups.create(web.ledger, "farm", None)
    assert "Add to group" in client.get("/", headers=HTML).text


def test_a_large_pools_group_lists_its_members_only(
    web: Web, client: FlaskClient, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.pages.groups.TICKED_MOST", 1)
    web.join(web.offer("render-2"))
    groups.fill(web.ledger, "farm", [WorkerId(worker)], "ana")
    page = client.get("/settings/groups/farm", headers=HTML).text
    assert "render-1" in page and "render-2" not in page and "Only its members are listed" in page
