"""A workflow on hold, told on pages, over HTTP and in /metrics; an admin lifts it at once."""

from __future__ import annotations

import pytest

from app.ledger import holds, waiting
from app.ledger.holds import Hold
from app.pool.backoff import Backoff
from app.pool.model import Job
from tests.kit.actors import classes, found, join, running, tell
from tests.kit.web import HTML, Web, signed_in, wrong

LINE = "no licence for <burn>"
END = {"end": "failed", "cause": "workflow", "then": "hold", "because": LINE, "error": f"exit code 75: {LINE}"}


@pytest.fixture
def met(web: Web, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job that has met the hold, which stays for longer than any test; dispatch has noted why it waits."""
    monkeypatch.setattr(holds, "RETRY", Backoff(3600.0, 3600.0))
    worker = join(web.ledger)
    job = running(web.ledger, worker)
    tell(web.ledger, worker, job, 1, "end", **END)
    name = next(iter(classes(web.ledger)))
    waiting.note_classes(web.ledger, {name: the_hold(web).reason})
    return found(web.ledger, job)


def the_hold(web: Web) -> Hold:
    [hold] = holds.listed(web.ledger)
    return hold


def page(web: Web, path: str, token: str | None = None) -> str:
    return signed_in(web, token or web.admin).get(path, headers=HTML).get_data(as_text=True)


def test_the_api_says_what_is_on_hold_why_and_what_comes_next(web: Web, met: Job) -> None:
    [item] = web.get("/admin/holds")["items"]
    hold = the_hold(web)
    assert (item["workflow"], item["why"], item["met"], item["probe"]) == ("burn", LINE, 1, None)
    assert item["words"] == hold.words
    job = web.get(f"/jobs/{met.id}")
    assert (job["waiting"]["for"], job["waiting"]["why"]) == ("hold", hold.words)
    assert (job["failures"], job["error"]) == (0, None)
    summary = web.get(f"/jobs/{met.id}/why")["summary"]
    assert summary.startswith(f"{hold.words}; 1 worker")
    assert 'muster_workflow_on_hold{workflow="burn"} 1.0' in web.ask("GET", "/metrics", web.admin).text


def test_pages_of_fleet_jobs_and_job_say_so_and_admins_have_a_button(web: Web, met: Job) -> None:
    words = the_hold(web).words.replace("<burn>", "&lt;burn&gt;")
    for path in ("/", "/ui/fleet", "/jobs", "/ui/jobs"):
        assert words in page(web, path), path
    told = page(web, f"/jobs/{met.id}")
    assert f"B{words[1:]}." in told
    assert "a rule of its workflow says: put the workflow on hold" in told
    assert "exit code 75: no licence" in told
    assert "Lift the hold</button>" in page(web, "/jobs")
    assert "Lift the hold</button>" not in page(web, "/jobs", web.creator)
    assert words in page(web, "/jobs", web.creator)


def test_an_admin_lifts_it_once_and_nobody_else_may(web: Web, met: Job) -> None:
    assert web.ask("DELETE", "/admin/holds/burn", web.creator).status_code == 403
    assert web.ask("DELETE", "/admin/holds/burn", web.token("read", "eve")).status_code == 403
    assert web.ask("DELETE", "/admin/holds/burn", web.admin).status_code == 204
    again = web.ask("DELETE", "/admin/holds/burn", web.admin)
    assert (again.status_code, (again.get_json() or {})["detail"]) == (404, "burn is not on hold")
    assert web.get("/admin/holds")["items"] == []
    assert wrong(web.ask("DELETE", "/admin/holds/a:b", web.admin))


def test_the_button_lifts_it_and_leads_to_what_waited(web: Web, met: Job) -> None:
    visitor = signed_in(web, web.admin)
    form = visitor.get("/jobs", headers=HTML).get_data(as_text=True)
    token = form.split('name="csrf_token" value="')[1].split('"')[0]
    answered = visitor.post("/ui/holds/lift", data={"workflow": "burn", "csrf_token": token}, headers=HTML)
    assert (answered.status_code, answered.location) == (303, "/jobs?state=pending")
    assert holds.listed(web.ledger) == []
    assert "Lift the hold" not in page(web, "/jobs")
