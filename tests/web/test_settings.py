"""Settings over HTTP and by the form: ranges are named, nothing is half changed, a stale change is refused."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from app.ledger import events, policy
from app.pool.policy import ABOUT, DEFAULTS, NAMES, Policy
from app.web.pages.settings import sections
from tests.kit.web import HTML, Web, signed_in, wrong


def form(page: str) -> dict[str, str]:
    """The hidden fields of the settings' form."""
    return dict(re.findall(r'name="(csrf_token|version)" value="([^"]+)"', page))


def filled(policy: Policy, **changed: str) -> dict[str, str]:
    """What a browser sends when a person changed these fields."""
    values = {name: getattr(policy, name) for name in NAMES}
    sent = {name: str(value) for name, value in values.items() if not isinstance(value, bool) and value is not None}
    return {**sent, **{name: "on" for name, value in values.items() if value is True}, **changed}


def test_every_setting_has_its_words_and_its_default(web: Web) -> None:
    assert set(ABOUT) == {field.name for field in fields(Policy)}
    assert all(about.label and about.help for about in ABOUT.values())
    assert {name for _, names in sections() for name in names} == set(NAMES)
    assert web.get("/admin/settings") == {name: getattr(DEFAULTS, name) for name in NAMES}


def test_a_change_is_kept_told_and_rung(web: Web) -> None:
    with web.services.redis.pubsub() as heard:
        heard.subscribe(web.services.keys.bell)
        heard.get_message(timeout=5)
        answered = web.ask("PATCH", "/admin/settings", web.admin, json={"missed_beats": 5, "stall_s": 60})
        assert (answered.status_code, answered.get_json()["missed_beats"]) == (200, 5)
        assert heard.get_message(ignore_subscribe_messages=True, timeout=5)["data"] == "settings"
    assert policy.read(web.ledger) == Policy(missed_beats=5, stall_s=60)
    assert events.listed(web.ledger)[0].sentence == "root set missed_beats = 5, stall_s = 60"
    web.ask("PATCH", "/admin/settings", web.admin, json={"stall_s": None})
    assert policy.read(web.ledger) == Policy(missed_beats=5)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("heartbeat_interval_s", 0.4, "must be from 0.5 to 300"),
        ("missed_beats", 1.5, "must be a whole number"),
        ("missed_beats", None, "must be a whole number"),
        ("fast_failover", 1, "must be true or false"),
        ("queue_depth", "many", "must be a whole number"),
        ("strategy", "random", "must be one of least-loaded, round-robin, capability-first"),
        ("strategy", 1, "must be one of least-loaded, round-robin, capability-first"),
        ("w_gpu", 1.5, "must be from 0 to 1"),
        ("prefer_weight", -0.1, "must be from 0 to 1"),
    ],
)
def test_a_bad_value_names_its_range_and_changes_nothing(web: Web, name: str, value: object, why: str) -> None:
    good = {"max_orphan_s": 5}
    assert wrong(web.ask("PATCH", "/admin/settings", web.admin, json={**good, name: value})) == {f"/{name}": why}
    assert policy.read(web.ledger) == DEFAULTS


def test_some_weight_of_the_load_is_more_than_0(web: Web) -> None:
    assert web.ask("PATCH", "/admin/settings", web.admin, json={"w_gpu": 0, "w_vram": 0}).status_code == 200
    why = "one of the load's weights must be more than 0"
    assert wrong(web.ask("PATCH", "/admin/settings", web.admin, json={"w_queue": 0})) == {"/w_queue": why}
    assert policy.read(web.ledger) == Policy(w_gpu=0.0, w_vram=0.0)


def test_the_strategy_is_chosen_from_a_list(web: Web) -> None:
    client = signed_in(web, web.admin)
    page = client.get("/settings", headers=HTML).text
    assert re.search(r'<select id="setting-strategy"[^>]*>\s*<option selected>least-loaded</option>', page)
    sent = filled(DEFAULTS, strategy="round-robin", w_gpu="0.25")
    assert client.post("/ui/settings/change", data={**sent, **form(page)}).status_code == 303
    assert policy.read(web.ledger) == Policy(strategy="round-robin", w_gpu=0.25)
    assert "<option selected>round-robin</option>" in client.get("/settings", headers=HTML).text


def test_an_unknown_setting_is_refused(web: Web) -> None:
    assert "/speed" in wrong(web.ask("PATCH", "/admin/settings", web.admin, json={"speed": 1}))


def test_of_two_who_change_what_they_saw_the_second_is_told(web: Web) -> None:
    seen = web.ask("GET", "/admin/settings", web.admin).headers["ETag"]
    for status, interval in ((200, 5), (412, 7)):
        answered = web.ask(
            "PATCH",
            "/admin/settings",
            web.admin,
            json={"heartbeat_interval_s": interval},
            headers={"If-Match": seen},
        )
        assert answered.status_code == status
    assert policy.read(web.ledger).heartbeat_interval_s == 5
    assert web.ask("PATCH", "/admin/settings", web.admin, json={}, headers={"If-Match": "*"}).status_code == 200


def test_only_admins_change_settings_and_creators_do_not_see_them(web: Web) -> None:
    reader = web.token("read", "eve")
    assert web.ask("GET", "/admin/settings", reader).status_code == 200
    assert web.ask("PATCH", "/admin/settings", reader, json={"strict": True}).status_code == 403
    assert web.ask("GET", "/admin/settings", web.creator).status_code == 403
    assert signed_in(web, web.creator).get("/settings", headers=HTML).status_code == 403
    page = signed_in(web, reader).get("/settings", headers=HTML).text
    assert "Save" not in page and "disabled" in page


def test_the_form_changes_only_what_differs_and_says_what_follows(web: Web) -> None:
    client = signed_in(web, web.admin)
    page = client.get("/settings", headers=HTML).text
    assert "after 35 s without a heartbeat" in page and "after 45 s; its jobs" in page
    sent = filled(DEFAULTS, heartbeat_interval_s="1.5", timeout_s="3600")
    assert client.post("/ui/settings/change", data={**sent, **form(page)}).status_code == 303
    assert policy.read(web.ledger) == Policy(heartbeat_interval_s=1.5, timeout_s=3600)
    assert events.listed(web.ledger)[0].sentence == "root set heartbeat_interval_s = 1.5, timeout_s = 3600"
    assert "after 3.5 s without a heartbeat" in client.get("/settings", headers=HTML).text


def test_a_stale_form_changes_nothing_and_shows_what_is_set_now(web: Web) -> None:
    client = signed_in(web, web.admin)
    hidden = form(client.get("/settings", headers=HTML).text)
    policy.write(web.ledger, {"missed_beats": 4}, "ben")
    answered = client.post("/ui/settings/change", data={**filled(DEFAULTS, queue_depth="3"), **hidden})
    assert answered.status_code == 412
    assert "Somebody has changed this meanwhile" in answered.text
    assert 'name="missed_beats" type="number" inputmode="decimal" value="4"' in answered.text
    assert policy.read(web.ledger) == Policy(missed_beats=4)


def test_a_bad_form_is_shown_again_as_it_was_written(web: Web) -> None:
    client = signed_in(web, web.admin)
    hidden = form(client.get("/settings", headers=HTML).text)
    answered = client.post("/ui/settings/change", data={**filled(DEFAULTS, missed_beats="eleven"), **hidden})
    assert answered.status_code == 422
    assert 'value="eleven"' in answered.text and "must be a whole number" in answered.text


def test_what_the_form_shows_again_does_not_undo_what_others_did_meanwhile(web: Web) -> None:
    client = signed_in(web, web.admin)
    hidden = form(client.get("/settings", headers=HTML).text)
    policy.write(web.ledger, {"missed_beats": 4}, "ben")
    answered = client.post("/ui/settings/change", data={**filled(DEFAULTS, queue_depth="many"), **hidden})
    assert answered.status_code == 422 and form(answered.text)["version"] == hidden["version"]
    answered = client.post("/ui/settings/change", data={**filled(DEFAULTS, queue_depth="3"), **form(answered.text)})
    assert answered.status_code == 412
    assert policy.read(web.ledger) == Policy(missed_beats=4)


def test_a_value_of_many_digits_outlives_the_saving_of_another(web: Web) -> None:
    policy.write(web.ledger, {"w_gpu": 0.3333333}, "root")
    client = signed_in(web, web.admin)
    page = client.get("/settings", headers=HTML).text
    fields = dict(re.findall(r'name="(\w+)" type="number"[^>]* value="([^"]*)"', page))
    sent = {**filled(DEFAULTS), **fields, "missed_beats": "4"}
    assert client.post("/ui/settings/change", data={**sent, **form(page)}).status_code == 303
    assert policy.read(web.ledger) == Policy(w_gpu=0.3333333, missed_beats=4)
    assert events.listed(web.ledger)[0].sentence == "root set missed_beats = 4"
