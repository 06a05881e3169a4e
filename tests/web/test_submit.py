"""The submit form: nothing that was written or demanded is lost, and what is wrong stands at its field."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.ledger import groups, jobs
from app.pool.codec import plain
from app.pool.model import Job, JobId, Parameter, Workflow
from app.web.pages import submit_form
from app.web.shapes.job_bodies import JobBody, body_of
from tests.kit.web import HTML, Web, signed_in

BURN = Workflow("burn", "python", parameters=(Parameter("seconds", "float"), Parameter("clip", "file")))
PATH = "/ui/jobs/submit"


@pytest.fixture
def client(web: Web) -> FlaskClient:
    """A creator's browser, in a pool whose one worker offers burn."""
    web.join(web.offer(workflows=[plain(BURN)]))
    return signed_in(web, web.creator)


def test_no_field_of_a_submission_is_forgotten_when_it_is_sent_again(web: Web) -> None:
    job = jobs.find(web.ledger, web.submit()["id"])
    assert job is not None
    again = body_of(job)
    assert again.keys() == JobBody.model_fields.keys() - {"owner"}
    asked = submit_form.texts(again).keys() | submit_form.NOT_IN_FORM.keys() | {"workflow", "params", "strict"}
    assert asked == again.keys()


def filled(client: FlaskClient, path: str = "/submit?workflow=burn") -> dict[str, str]:
    """What a browser sends when nobody changes anything."""
    return fields(client.get(path, headers=HTML).text)


def fields(page: str) -> dict[str, str]:
    form = page[page.index('action="/ui/jobs/submit"') :]
    inputs = re.findall(r'<input [^>]*?name="([\w.]+)"[^>]*? value="([^"]*)"', form)
    inputs += re.findall(r'<input name="([\w.]+)" value="([^"]*)"', form)
    groups = re.findall(r'<select id="group".*?<option selected>([^<]+)<', form)
    sent = {name: value for name, value in inputs if name != "strict"}
    return {**sent, "group": groups[0] if groups else "", **({"strict": "on"} if 'value="on" checked' in form else {})}


def submitted(web: Web, answered: TestResponse) -> Job:
    assert answered.status_code == 303, answered.text
    found = jobs.find(web.ledger, JobId(answered.location.rpartition("/")[2]))
    assert found is not None
    return found


def test_a_form_that_is_sent_again_unchanged_makes_one_job(web: Web, client: FlaskClient) -> None:
    sent = {**filled(client), "p.seconds": "5"}
    first, again = (client.post(PATH, data=sent) for _ in range(2))
    assert first.location == again.location and len(jobs.listed(web.ledger)) == 1


def test_a_form_that_is_sent_again_with_other_values_is_another_job_and_never_the_first(
    web: Web, client: FlaskClient
) -> None:
    sent = {**filled(client), "p.seconds": "5"}
    first = submitted(web, client.post(PATH, data=sent))
    told = client.post(PATH, data={**sent, "p.seconds": "7"})
    assert told.status_code == 422 and "this form was submitted already, with other values" in told.text
    assert fields(told.text)["p.seconds"] == "7"
    second = submitted(web, client.post(PATH, data={**sent, **fields(told.text)}))
    assert (first.spec.params, second.spec.params) == ({"seconds": 5.0}, {"seconds": 7.0})


def test_a_key_stands_for_what_was_asked_by_the_form_and_as_json(web: Web, client: FlaskClient) -> None:
    sent = {**filled(client), "p.seconds": "5"}
    job = submitted(web, client.post(PATH, data=sent))
    for seconds, status in ((5, 201), (7, 422)):
        answered = web.ask(
            "POST",
            "/jobs",
            web.creator,
            json={"workflow": "burn", "params": {"seconds": float(seconds)}},
            headers={"Idempotency-Key": sent["key"]},
        )
        assert answered.status_code == status
        assert status != 201 or answered.get_json()["id"] == job.id


def test_a_group_and_preferred_tags_are_asked_for(web: Web, client: FlaskClient) -> None:
    groups.create(web.ledger, "farm", None)
    assert "<option>farm</option>" in client.get("/submit", headers=HTML).text
    sent = {**filled(client), "group": "farm", "prefers": "optix, cuda-12=0.25"}
    needs = submitted(web, client.post(PATH, data=sent)).spec.requirement
    assert (needs.group, dict(needs.prefers)) == ("farm", {"optix": 1.0, "cuda-12": 0.25})


def test_submitting_again_with_changes_keeps_every_demand(web: Web, client: FlaskClient) -> None:
    groups.create(web.ledger, "farm", None)
    demands: dict[str, Any] = {
        "name": "Take one",
        "requires": ["gpu"],
        "prefers": {"optix": 1.0, "cuda-12": 0.25},
        "group": "farm",
        "min_vram_mb": 0,
        "gpus": 2,
        "only_workers": ["0" * 12],
        "exclude_workers": ["1" * 12],
        "priority": 70,
        "not_before": "2100-01-31T18:00:00Z",
        "timeout_s": 60,
        "stall_s": 30,
        "max_failures": 5,
        "max_orphan_s": 9,
        "strict": True,
        "resume": {"frame": 10},
    }
    old = web.submit(params={"seconds": 5.0}, **demands)
    path = f"/submit?workflow=burn&from={old['id']}"
    page = client.get(path, headers=HTML).text
    assert "Also as in the job before: number of GPUs, the only workers, excluded workers, earliest start" in page
    new = submitted(web, client.post(PATH, data={**filled(client, path), "p.seconds": "7"}))
    answered = web.get(f"/jobs/{new.id}")
    assert {name: answered[name] for name in demands} == demands
    assert answered["params"] == {"seconds": 7.0}
    assert submitted(web, client.post(PATH, data={**filled(client, path), "group": ""})).spec.requirement.group is None


def test_a_group_that_was_renamed_is_followed_and_one_that_is_gone_is_told(web: Web, client: FlaskClient) -> None:
    groups.create(web.ledger, "farm", None)
    old = web.submit(group="farm")
    web.ask("DELETE", f"/jobs/{old['id']}", web.creator)
    path = f"/submit?workflow=burn&from={old['id']}"
    web.ask("PATCH", "/admin/groups/farm", web.admin, json={"name": "barn"})
    assert filled(client, path)["group"] == "barn"
    web.ask("DELETE", "/admin/groups/barn", web.admin)
    answered = client.post(PATH, data=filled(client, path))
    assert answered.status_code == 422 and "there is no group farm" in answered.text


def test_nobody_submits_somebody_else_s_job_again(web: Web, client: FlaskClient) -> None:
    other = web.submit(web.token("creator", "eve"))["id"]
    assert client.get(f"/submit?from={other}", headers=HTML).status_code == 404
    assert client.post(PATH, data={**filled(client), "from": other}).status_code == 404


@pytest.mark.parametrize(
    ("field", "written", "why"),
    [
        ("priority", "many", "must be a whole number"),
        ("min_vram_mb", "-1", "greater than or equal to 0"),
        ("requires", "b/d", "letters, digits"),
        ("prefers", "b/d", "letters, digits"),
        ("prefers", "optix=much", "optix=much: write it as a tag, or as tag=weight with a weight from 0 to 1"),
        ("prefers", "optix=2", "less than or equal to 1"),
        ("prefers", "optix=nan", "than or equal to"),
        ("group", "barn", "there is no group barn"),
    ],
)
def test_what_is_wrong_stands_open_at_its_field(client: FlaskClient, field: str, written: str, why: str) -> None:
    page = client.post(PATH, data={**filled(client), field: written}).text
    assert '<details id="more" open>' in page
    assert re.search(f'name="{field}"[^>]* aria-describedby="{field}-help" aria-invalid="true"', page)
    assert re.search(f'id="{field}-help"><span class="wrong">[^<]*{re.escape(why)}', page)
    assert fields(page)[field] == written


def test_an_upload_outlives_a_form_that_is_shown_again(web: Web, client: FlaskClient) -> None:
    sent = {**filled(client), "p.seconds": "soon", "f.clip": (io.BytesIO(b"clip"), "a.mp4")}
    told = client.post(PATH, data=sent)
    kept = web.services.settings.home / "input" / "a.mp4"
    assert told.status_code == 422 and fields(told.text)["p.clip"] == str(kept)
    job = submitted(web, client.post(PATH, data={**fields(told.text), "p.seconds": "5"}))
    assert job.spec.params == {"seconds": 5.0, "clip": str(kept)}


RENDER = Workflow(
    "render",
    "command",
    argv=("render", "{title}", ("-s", "{first}")),
    parameters=(Parameter("title"), Parameter("first", "int", min=-1000001, max=2**63 - 1)),
)


def test_a_numbers_bounds_stand_in_the_form_as_they_were_declared(web: Web) -> None:
    web.join(web.offer(workflows=[plain(RENDER)]))
    page = signed_in(web, web.creator).get("/submit?workflow=render", headers=HTML).text
    assert 'min="-1000001" max="9223372036854775807"' in page
    assert "(from -1000001 to 9223372036854775807)" in page


def test_what_a_command_would_read_as_an_option_is_refused_when_it_is_submitted(web: Web) -> None:
    web.join(web.offer(workflows=[plain(RENDER)]))
    refused = web.refused({"workflow": "render", "params": {"title": "-y"}})
    assert refused == {"/params/title": "may not begin with '-': it would be read as an option"}
    assert web.submit(workflow="render", params={"title": "y", "first": -5})["params"]["first"] == -5
