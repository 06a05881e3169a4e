"""Investigations over HTTP: listed, looked at, noted, resolved once; the flag on the worker."""

from __future__ import annotations

import pytest

from app.ledger import events, investigations, jobs, open_attempts
from app.ledger.investigations import SuspectedCause
from app.ledger.registry import pauses, workers
from app.pool.model import Health, Intent, Worker
from tests.kit.actors import assign, join, running, submit, tell
from tests.kit.web import HTML, Web, signed_in

SAMPLE = {"at": "2030-01-01T12:00:00+00:00", "utilisation": 0.5, "vram_used": 0.9, "temperature_c": 71, "load": 0.4}
EVIDENCE = {
    "why": "silent: no heartbeat for 35.2 s",
    "beat": {"attempts": [{"job": "j", "attempt": 1}], "gpus": [{"index": 0, "reason": "GPU is lost"}]},
    "samples": [SAMPLE],
    "ends": [
        {"job": "j", "number": 1, "end": "failed", "signal": 9, "error": "Killed"},
        {"job": "k", "number": 4, "end": "succeeded"},
    ],
}


def opened(web: Web, worker: Worker, **evidence: object) -> str:
    """An investigation of this worker."""
    facts = {**EVIDENCE, **evidence}
    assert investigations.begin(web.ledger, worker.id, worker.incarnation, SuspectedCause.HOST_SILENT, facts, 2.0)
    return investigations.open_of(web.ledger, [worker.id])[worker.id]


def test_an_investigation_names_the_jobs_that_moved_and_how_fast(web: Web) -> None:
    lost, other = join(web.ledger, "render-1"), join(web.ledger, "render-2")
    job = running(web.ledger, lost)
    one = opened(web, lost)
    assert workers.set_health(web.ledger, lost, Health.DOWN, "silent: no heartbeat for 45 s", "down")
    open_attempts.take_away_all(web.ledger, lost.id, "render-1 is down")
    again = jobs.find(web.ledger, job.id)
    assert again
    tell(web.ledger, other, assign(web.ledger, again, other), 2, "claim", nonce="m")
    found = web.get(f"/admin/investigations/{one}")
    assert (found["worker_name"], found["cause"], found["evidence"]["why"]) == (
        "render-1",
        "host silent",
        EVIDENCE["why"],
    )
    [move] = found["jobs"]
    assert (move["job"], move["attempt"], move["to_name"]) == (job.id, 1, "render-2")
    assert 2 <= move["seconds"] < 30
    page = signed_in(web, web.admin).get(f"/investigations/{one}", headers=HTML).text
    for words in (
        "What the pool saw: silent: no heartbeat for 35.2 s",
        "It ran 1 job when it was last heard of",
        "GPU 0: GPU is lost",
        "ended by SIGKILL: Killed",
        "temperature before the failure: last 71 °C",
        "Continued on render-2, ",
        "Down: silent: no heartbeat for 45 s",
    ):
        assert words in page, words
    assert "of job k" not in page


def test_evidence_may_lack_any_part(web: Web) -> None:
    worker = join(web.ledger)
    assert investigations.begin(web.ledger, worker.id, worker.incarnation, SuspectedCause.PROCESS_KILLED, {}, 0.0)
    [one] = web.get("/admin/investigations")["items"]
    answered = signed_in(web, web.admin).get(f"/investigations/{one['id']}", headers=HTML)
    assert answered.status_code == 200 and "Nothing was kept." in answered.text


def test_the_flag_stays_until_a_person_resolves_it_with_a_note(web: Web) -> None:
    worker = join(web.ledger)
    one = opened(web, worker)
    assert web.get(f"/admin/workers/{worker.id}")["investigation"] == one
    assert web.ask("POST", f"/admin/investigations/{one}/resolve", web.admin, json={}).status_code == 422
    noted = web.ask("POST", f"/admin/investigations/{one}/notes", web.admin, json={"text": " looked at its fan\n"})
    assert (noted.status_code, noted.get_json()["notes"][0]["text"]) == (201, "looked at its fan")
    answered = web.ask("POST", f"/admin/investigations/{one}/resolve", web.admin, json={"note": "fan replaced"})
    assert (answered.status_code, answered.get_json()["resolved_by"]) == (200, "root")
    again = web.ask("POST", f"/admin/investigations/{one}/resolve", web.admin, json={"note": "once more"})
    assert (again.status_code, web.get(f"/admin/investigations/{one}")["note"]) == (409, "fan replaced")
    assert web.get(f"/admin/workers/{worker.id}")["investigation"] is None
    assert web.get("/admin/investigations?open=true")["items"] == []
    assert events.listed(web.ledger)[0].kind == "investigation.resolved"


def test_the_list_is_paged_newest_first_and_filtered(web: Web) -> None:
    lost = [join(web.ledger, f"render-{n}") for n in range(3)]
    ids = [opened(web, worker) for worker in lost]
    first = web.get("/admin/investigations?limit=2")
    second = web.get(f"/admin/investigations?limit=2&cursor={first['next']}")
    assert [each["id"] for each in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    assert [each["id"] for each in web.get(f"/admin/investigations?worker={lost[0].id}")["items"]] == ids[:1]


def test_errors_of_several_owners_are_told_with_the_pause_that_a_person_must_end(web: Web) -> None:
    bad, *_ = [join(web.ledger, f"render-{number}") for number in range(5)]
    for owner in ("ana", "ben", "cem"):
        job = running(web.ledger, bad, submit(web.ledger, owner=owner, max_failures=1))
        tell(web.ledger, bad, job, 1, "end", end="failed", cause="workflow", error=f"no frame for {owner}")
    [one] = web.get("/admin/investigations?open=true")["items"]
    assert one["cause"] == "errors of several owners"
    client = signed_in(web, web.admin)
    page = client.get(f"/investigations/{one['id']}", headers=HTML).text
    for words in (
        "Jobs of several people failed here one after the other",
        "What the pool saw: jobs of 3 owners failed on it in a row: ana, ben, cem",
        "The first of these errors",
        "no frame for ben",
        "Resolving this does not resume it",
    ):
        assert words in page, words
    web.ask("POST", f"/admin/investigations/{one['id']}/resolve", web.admin, json={"note": "new driver"})
    assert web.get(f"/admin/workers/{bad.id}")["intent"] == "paused"
    assert "Resolving this does not resume it" in client.get(f"/investigations/{one['id']}", headers=HTML).text
    assert pauses.set_intents(web.ledger, [bad.id], Intent.ACTIVE)
    assert "does not resume it" not in client.get(f"/investigations/{one['id']}", headers=HTML).text


@pytest.mark.parametrize("text", ["", "   ", "x" * 2001, "a\x07b"])
def test_a_note_that_cannot_be_kept_is_refused_in_api_and_form(web: Web, text: str) -> None:
    one = opened(web, join(web.ledger))
    assert web.ask("POST", f"/admin/investigations/{one}/notes", web.admin, json={"text": text}).status_code == 422
    client = signed_in(web, web.admin)
    page = client.get(f"/investigations/{one}", headers=HTML).text
    csrf = page.split('name="csrf-token" content="')[1].split('"')[0]
    posted = client.post(f"/ui/investigations/{one}/notes", data={"csrf_token": csrf, "text": text})
    assert posted.status_code == 422
    assert web.get(f"/admin/investigations/{one}")["notes"] == []


def test_only_admins_write_and_creators_see_none(web: Web) -> None:
    one, reader = opened(web, join(web.ledger)), web.token("read", "eve")
    assert web.ask("GET", f"/admin/investigations/{one}", reader).status_code == 200
    assert web.ask("POST", f"/admin/investigations/{one}/notes", reader, json={"text": "x"}).status_code == 403
    assert web.ask("GET", "/admin/investigations", web.creator).status_code == 403
    assert signed_in(web, web.creator).get(f"/investigations/{one}", headers=HTML).status_code == 403
    assert web.ask("GET", "/admin/investigations/000000000000", web.admin).status_code == 404
