"""Names that nobody knows: a workflow that no worker has ever offered is refused, the rest is taken with a warning."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient

from app.actions.spelling import COMPARED
from app.ledger import groups, waiting
from app.ledger.db import Ledger
from app.pool.codec import plain
from app.pool.model import Parameter, Workflow
from tests.kit.actors import know
from tests.kit.web import HTML, Web, signed_in, wrong

UPSCALE = Workflow("upscale", "python", parameters=(Parameter("factor", "int"),))
ANYWAY = {"allow_unknown_workflow": "true"}
HOW = "with allow_unknown_workflow (--anyway) it is taken and waits"


def offering(web: Web, name: str = "vm-1", *workflows: Workflow, **rest: Any) -> dict[str, Any]:
    return web.join(web.offer(name, workflows=[plain(each) for each in workflows], **rest))


def why(web: Web, **body: Any) -> str:
    """Why this workflow cannot be taken."""
    return web.refused(body)["/workflow"]


def hidden(client: FlaskClient) -> dict[str, str]:
    """What the form of a workflow that is offered sends by itself."""
    form = client.get("/submit?workflow=upscale", headers=HTML).text
    return dict(re.findall(r'<input type="hidden" name="([\w.]+)" value="([^"]*)"', form))


def forget_workers(ledger: Ledger) -> None:
    """All of them joined anew, and offer nothing any more."""
    with ledger.transaction() as tx:
        assert tx._connection is not None
        tx._connection.execute("UPDATE workers SET workflows = '[]', incarnation = incarnation + 1")


def test_what_nobody_has_ever_offered_is_refused_with_the_nearest_name(web: Web) -> None:
    offering(web, "vm-1", UPSCALE)
    assert why(web, workflow="trnscode") == f"no worker offers 'trnscode' or ever has; did you mean 'transcode'? {HOW}"
    assert "did you mean 'upscale'?" in why(web, workflow="UPSCALED")
    assert why(web, workflow="z9") == f"no worker offers 'z9' or ever has; {HOW}"
    assert waiting.count(web.ledger) == 0


def test_where_no_worker_has_joined_that_is_said(web: Web) -> None:
    with web.ledger.transaction() as tx:
        assert tx._connection is not None
        tx._connection.execute("DELETE FROM known_workflows")
    assert why(web) == f"no worker offers 'burn': no worker has joined the pool yet; {HOW}"


def test_it_is_taken_where_the_request_allows_it_and_warns_and_waits(web: Web) -> None:
    answered = web.ask("POST", "/jobs", web.creator, json={"workflow": "trnscode"}, query_string=ANYWAY)
    assert answered.status_code == 201
    job = answered.get_json()
    assert job["warnings"] == ["no worker offers 'trnscode' or ever has; did you mean 'transcode'?"]
    assert job["waiting"]["why"] == "no worker offers trnscode"
    refused = web.ask("POST", "/jobs", web.creator, json={"workflow": "burn"}, query_string={"allow": "1"})
    assert refused.status_code == 422


def test_what_was_offered_once_is_taken_and_waits_and_its_parameters_are_checked(web: Web) -> None:
    offering(web, "vm-1", UPSCALE)
    forget_workers(web.ledger)
    assert web.get("/workflows")["items"] == []
    job = web.submit(workflow="upscale", params={"factor": 2})
    assert (job["warnings"], job["waiting"]["why"]) == ([], "no worker offers upscale")
    assert web.refused({"workflow": "upscale", "params": {"factor": "much"}}) == {
        "/params/factor": "must be a whole number"
    }


def test_the_last_declaration_is_the_one_that_is_known(web: Web) -> None:
    token = offering(web, "vm-1", UPSCALE)["token"]
    renamed = Workflow("upscale", "python", parameters=(Parameter("scale", "int"),))
    web.join(web.offer("vm-1", workflows=[plain(renamed)]), token)
    forget_workers(web.ledger)
    assert web.refused({"workflow": "upscale", "params": {"factor": 2}}).keys() == {"/params/factor"}
    assert web.submit(workflow="upscale", params={"scale": 2})


def test_a_worker_s_own_word_says_why_nobody_offers_it(web: Web) -> None:
    missing = {"render": "the program blender is not found"}
    for name in ("vm-1", "vm-2", "vm-3", "vm-4"):
        offering(web, name, not_offered=missing)
    said = "; ".join(f"vm-{number} says: the program blender is not found" for number in (1, 2, 3))
    assert why(web, workflow="render") == f"no worker offers 'render' or ever has: {said} and 1 more; {HOW}"
    know(web.ledger, "render")
    assert web.submit(workflow="render")["warnings"] == []


def test_one_that_another_worker_offers_is_offered(web: Web) -> None:
    offering(web, "vm-1", not_offered={"upscale": "the program is not found"})
    offering(web, "vm-2", UPSCALE)
    assert web.submit(workflow="upscale")["waiting"]["for"] == "slot"


def test_each_bad_entry_of_a_batch_is_named_and_its_warnings_stand_with_each_job(web: Web) -> None:
    bodies = [{"workflow": "burn"}, {"workflow": "brun"}, {"workflow": "burn", "requires": ["gpuu"]}]
    refused = web.ask("POST", "/jobs/batch", web.creator, json={"jobs": bodies})
    assert wrong(refused).keys() == {"/jobs/1/workflow"}
    assert waiting.count(web.ledger) == 0
    taken = web.ask("POST", "/jobs/batch", web.creator, json={"jobs": bodies}, query_string=ANYWAY)
    assert [job["warnings"] for job in taken.get_json()["items"]] == [
        [],
        ["no worker offers 'brun' or ever has; did you mean 'burn'?"],
        ["no worker has the tag 'gpuu'"],
    ]


def test_a_tag_and_workers_that_are_not_there_are_warned_of(web: Web) -> None:
    worker = offering(web, "vm-1")["worker"]
    changed = web.ask("PATCH", f"/admin/workers/{worker}", web.admin, json={"tags": ["optix"]})
    assert changed.status_code == 200, changed.text
    job = web.submit(requires=["optix", "optx", "z9"], only_workers=[worker, "0" * 12], exclude_workers=["1" * 12])
    assert job["warnings"] == [
        "no worker has the tag 'optx'; did you mean 'optix'?",
        "no worker has the tag 'z9'",
        f"there is no worker {'0' * 12}",
        f"there is no worker {'1' * 12}",
    ]


def test_a_group_that_is_not_there_is_refused_with_the_nearest_name(web: Web) -> None:
    groups.create(web.ledger, "farm", None)
    assert web.refused({"group": "farmm"}) == {"/group": "there is no group farmm; did you mean 'farm'?"}


def test_a_key_of_a_refused_submission_is_free_and_a_repeated_one_warns_again(web: Web) -> None:
    headers, body = {"Idempotency-Key": "k"}, {"workflow": "brun"}
    assert web.ask("POST", "/jobs", web.creator, json=body, headers=headers).status_code == 422
    first, again = (
        web.ask("POST", "/jobs", web.creator, json=body, headers=headers, query_string=ANYWAY) for _ in range(2)
    )
    assert first.get_json() == again.get_json() and first.get_json()["warnings"]
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_job_of_an_unknown_workflow_is_retried_as_it_was(web: Web) -> None:
    job = web.ask("POST", "/jobs", web.creator, json={"workflow": "brun"}, query_string=ANYWAY).get_json()["id"]
    web.ask("DELETE", f"/jobs/{job}", web.creator)
    again = web.ask("POST", f"/jobs/{job}/retry", web.creator)
    assert (again.status_code, again.get_json()["workflow"]) == (201, "brun")


def test_the_form_says_what_nobody_offers_and_shows_the_last_declaration_of_what_was_offered(web: Web) -> None:
    offering(web, "vm-1", UPSCALE)
    client = signed_in(web, web.creator)
    page = client.get("/submit?workflow=upscle", headers=HTML).text
    assert "No worker offers &#39;upscle&#39; or ever has; did you mean &#39;upscale&#39;?" in page
    told = client.post("/ui/jobs/submit", data={**hidden(client), "workflow": "upscle"}, headers=HTML)
    assert (told.status_code, "did you mean" in told.text) == (422, True)
    forget_workers(web.ledger)
    page = client.get("/submit?workflow=upscale", headers=HTML).text
    assert "No worker offers it now; the job waits for one." in page
    assert 'name="p.factor"' in page


def test_the_page_after_a_submission_tells_its_warnings_once(web: Web) -> None:
    offering(web, "vm-1", UPSCALE)
    client = signed_in(web, web.creator)
    sent = {**hidden(client), "priority": "50", "requires": "gpuu"}
    answered = client.post("/ui/jobs/submit", data=sent, headers=HTML)
    assert answered.status_code == 303, answered.text
    assert "No worker has the tag &#39;gpuu&#39;." in client.get(answered.location, headers=HTML).text
    assert "gpuu&#39;." not in client.get(answered.location, headers=HTML).text


def test_of_very_many_unknown_names_only_the_first_are_compared(web: Web) -> None:
    """A comparison takes some milliseconds where many names are known."""
    bodies = [{"workflow": f"burn-{number}"} for number in range(COMPARED + 50)]
    answered = web.ask("POST", "/jobs/batch", web.creator, json={"jobs": bodies}, query_string=ANYWAY)
    told = [job["warnings"][0] for job in answered.get_json()["items"]]
    assert sum("did you mean 'burn'?" in warning for warning in told) == COMPARED
