"""Submitting, looking at, cancelling and retrying jobs over HTTP."""

from __future__ import annotations

from pathlib import Path

from app.ledger import groups, reports
from app.ledger.failures import Shortage
from app.pool.protocol import Report
from tests.kit.actors import found, running, tell
from tests.kit.actors import join as join_worker
from tests.kit.actors import submit as submit_to
from tests.kit.logs import write_log
from tests.kit.web import Web

FIELDS = (
    "id name workflow params state status waiting progress text attempt failures max_failures worker requires prefers"
    " group min_vram_mb above_vram_mb gpus only_workers exclude_workers priority stall_s resume timeout_s strict owner"
    " result error retry_of not_before created_at started_at ended_at"
)
BURN = {"name": "burn", "runner": "python", "parameters": [{"name": "seconds", "type": "float", "required": True}]}


def test_a_submitted_job_has_every_field_and_its_token_s_owner(web: Web) -> None:
    job = web.submit(params={"seconds": 3}, requires=["gpu"], prefers={"fast": 0.5}, priority=70, name="clip")

    assert set(FIELDS.split()) <= job.keys()
    assert (job["owner"], job["state"], job["status"]) == ("ann", "pending", "waiting")
    assert (job["requires"], job["prefers"], job["priority"]) == (["gpu"], {"fast": 0.5}, 70)
    warned = {**job, "warnings": []}  # the submission's answer alone says that no worker has this tag
    assert web.get(f"/jobs/{job['id']}") == warned


def test_a_submission_and_a_cancelling_ring_the_coordinator(web: Web) -> None:
    with web.services.redis.pubsub(ignore_subscribe_messages=True) as bell:
        bell.subscribe("pool:bell")
        bell.get_message(timeout=5)
        job = web.submit()["id"]
        web.ask("DELETE", f"/jobs/{job}", web.creator)
        messages = [bell.get_message(timeout=5) for _ in range(2)]
    assert [message and message["data"] for message in messages] == ["jobs", f"job {job}"]


def test_a_time_of_any_offset_is_taken(web: Web) -> None:
    job = web.submit(not_before="2099-01-01T00:00:00-18:39")
    assert job["not_before"] == "2099-01-01T18:39:00Z"
    assert "years 1 to 9999" in web.refused({"not_before": "0001-01-01T00:00:00+18:39"})["/not_before"]


def test_a_job_with_a_time_waits_for_it(web: Web) -> None:
    web.join(web.offer(workflows=[BURN]))
    job = web.submit(params={"seconds": 1}, not_before="2099-01-01T00:00:00+02:00")
    assert job["waiting"]["for"] == "time"
    assert job["not_before"] == job["waiting"]["until"] == "2098-12-31T22:00:00Z"


def test_a_job_that_found_no_larger_card_waits_for_its_time_and_says_why(web: Web) -> None:
    worker = join_worker(web.ledger)
    job = running(web.ledger, worker)
    report = Report("end", worker.id, worker.incarnation, job.id, 1, end="failed", cause="gpu memory")
    reports.apply_all(web.ledger, [report], {(job.id, 1): Shortage(8_000, larger=False)})
    shown = web.get(f"/jobs/{job.id}")
    assert shown["waiting"] == {
        "for": "time",
        "until": shown["not_before"],
        "why": "ran out of GPU memory, and no worker that could run it has a card with more than 8000 MiB free;"
        " tried again, elsewhere if possible",
    }
    assert shown["above_vram_mb"] == 8_000


def test_a_bad_field_is_named(web: Web) -> None:
    assert web.refused({"priority": 101}) == {"/priority": "Input should be less than or equal to 100"}
    assert web.refused({"parameter": {}}) == {"/parameter": "Extra inputs are not permitted"}
    assert web.refused({"timeout_s": "5"}).keys() == {"/timeout_s"}
    assert web.refused({"not_before": "tomorrow"}).keys() == {"/not_before"}
    assert web.refused({"not_before": "2030-01-01T00:00:00"}).keys() == {"/not_before"}
    assert web.refused({"only_workers": ["render-1"]}).keys() == {"/only_workers/0"}
    assert web.refused({"name": "a\nb"}) == {"/name": "may not hold control characters"}


def test_a_limit_is_named_in_the_error_that_enforces_it(web: Web) -> None:
    assert "65536 (64 KiB)" in web.refused({"params": {"text": "x" * 65536}})["/params"]
    assert "262144 (256 KiB)" in web.refused({"resume": "x" * 262144})["/resume"]
    assert "at most 64 items" in web.refused({"requires": [f"t{number}" for number in range(65)]})["/requires"]
    assert "at most 64 characters" in web.refused({"requires": ["x" * 65]})["/requires/0"]


def test_an_unknown_group_is_refused(web: Web) -> None:
    assert groups.names(web.ledger) == []
    assert web.refused({"group": "night"}) == {"/group": "there is no group night"}


def test_params_are_checked_by_the_declaration_of_the_workflow(web: Web) -> None:
    web.join(web.offer(workflows=[BURN]))
    assert web.refused({"params": {"seconds": "long", "speed": 1}}) == {
        "/params/speed": "is not a parameter of this workflow; it takes seconds",
        "/params/seconds": "must be a number",
    }
    assert web.submit(params={"seconds": 2})["waiting"]["for"] == "slot"


def test_where_hosts_declare_differently_one_declaration_that_fits_is_enough(web: Web) -> None:
    web.join(web.offer("one", workflows=[BURN]))
    web.join(web.offer("two", workflows=[{**BURN, "parameters": [{"name": "minutes", "type": "int"}]}]))
    assert web.submit(params={"minutes": 2})
    assert web.submit(params={"seconds": 2})


def test_a_file_parameter_must_be_there(web: Web, tmp_path: Path) -> None:
    parameters = [{"name": "input", "type": "file", "required": True}]
    web.join(web.offer(workflows=[{"name": "burn", "runner": "python", "parameters": parameters}]))
    (tmp_path / "clip.mp4").touch()
    assert web.submit(params={"input": str(tmp_path / "clip.mp4")})
    assert web.refused({"params": {"input": str(tmp_path / "clap.mp4")}}) == {"/params/input": "does not exist"}


def test_pages_of_jobs_are_the_newest_first_and_whole(web: Web) -> None:
    made = [web.submit(name=str(number))["id"] for number in range(5)]
    seen, path = [], "/jobs?limit=2"
    while path:
        page = web.get(path)
        seen += [job["id"] for job in page["items"]]
        path = f"/jobs?limit=2&cursor={page['next']}" if page["next"] else ""
    assert seen == made[::-1]


def test_a_cursor_that_is_not_ours_is_refused(web: Web) -> None:
    for cursor in ("x", "bnVsbA", "WyIyMDIwIiwgMV0", "%00"):
        assert web.ask("GET", f"/jobs?cursor={cursor}", web.admin).status_code == 422


def test_jobs_are_filtered_by_state_workflow_and_owner(web: Web) -> None:
    burn, other = web.submit()["id"], web.submit(workflow="transcode")["id"]
    hers = web.submit(web.token("creator", "eve"))["id"]
    web.ask("DELETE", f"/jobs/{burn}", web.creator)

    def ids(query: str) -> set[str]:
        return {job["id"] for job in web.get(f"/jobs?{query}")["items"]}

    assert ids("state=cancelled") == {burn}
    assert ids("state=cancelled&state=pending") == {burn, other, hers}
    assert ids("workflow=transcode") == {other}
    assert ids("owner=eve") == {hers}
    assert web.ask("GET", "/jobs?state=lost", web.admin).status_code == 422
    assert web.ask("GET", "/jobs?sort=name", web.admin).status_code == 422


def test_a_creator_sees_and_cancels_their_own_jobs_only(web: Web) -> None:
    mine, eve = web.submit()["id"], web.token("creator", "eve")
    assert [job["id"] for job in web.get("/jobs?owner=ann", eve)["items"]] == []
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/attempts"), ("GET", "/log"), ("POST", "/retry")):
        assert web.ask(method, f"/jobs/{mine}{path}", eve).status_code == 404
    assert web.get(f"/jobs/{mine}")["state"] == "pending"


def test_only_admins_name_another_owner(web: Web) -> None:
    assert web.submit(web.admin, owner="ann")["owner"] == "ann"
    assert web.ask("POST", "/jobs", web.creator, json={"workflow": "burn", "owner": "eve"}).status_code == 403


def test_a_cancelled_job_says_so_at_once_and_cancelling_is_until_its_processes_are_gone(web: Web) -> None:
    worker = join_worker(web.ledger)
    job = running(web.ledger, worker)

    answered = web.ask("DELETE", f"/jobs/{job.id}", web.admin).get_json()
    assert (answered["state"], answered["status"]) == ("cancelled", "cancelling")
    assert web.ask("DELETE", f"/jobs/{job.id}", web.admin).get_json()["status"] == "cancelling"

    tell(web.ledger, worker, job, job.attempt, "end", end="cancelled")
    assert web.get(f"/jobs/{job.id}")["status"] == "cancelled"


def test_an_ended_job_is_not_cancelled(web: Web) -> None:
    worker = join_worker(web.ledger)
    job = running(web.ledger, worker)
    tell(web.ledger, worker, job, job.attempt, "end", end="succeeded", result={"frames": 3})

    assert web.ask("DELETE", f"/jobs/{job.id}", web.admin).status_code == 409
    assert web.get(f"/jobs/{job.id}")["result"] == {"frames": 3}
    assert web.get("/jobs")["items"][0]["result"] == {"frames": 3}


def test_a_retry_is_a_new_job_that_names_the_old(web: Web) -> None:
    old = web.submit(params={"seconds": 4}, priority=60)
    assert web.ask("POST", f"/jobs/{old['id']}/retry", web.creator).status_code == 409
    web.ask("DELETE", f"/jobs/{old['id']}", web.creator)

    answered = web.ask("POST", f"/jobs/{old['id']}/retry", web.creator)
    new = answered.get_json()
    assert answered.status_code == 201
    assert new["retry_of"] == old["id"] != new["id"]
    assert (new["params"], new["priority"], new["owner"]) == ({"seconds": 4}, 60, "ann")


def test_attempts_tell_their_story(web: Web) -> None:
    worker = join_worker(web.ledger)
    job = running(web.ledger, worker)
    tell(web.ledger, worker, job, 1, "end", end="failed", error="no such frame", cause="workflow")
    running(web.ledger, worker, found(web.ledger, job))

    first, second = web.get(f"/jobs/{job.id}/attempts")["items"]
    assert (first["number"], first["end"], first["cause"], first["state"]) == (1, "failed", "workflow", "ended")
    assert (second["number"], second["state"], second["worker_name"]) == (2, "running", "render-1")


def test_a_log_is_read_by_number_and_as_plain_text(web: Web) -> None:
    worker = join_worker(web.ledger)
    job = running(web.ledger, worker, submit_to(web.ledger))
    write_log(web.ledger, job, ["one", "two", "three"], worker.id)

    page = web.get(f"/jobs/{job.id}/log?limit=2")
    assert [line["line"] for line in page["items"]] == ["one", "two"]
    assert [line["line"] for line in web.get(f"/jobs/{job.id}/log?after={page['next']}")["items"]] == ["three"]
    assert web.get(f"/jobs/{job.id}/log?attempt=2")["items"] == []
    text = web.ask("GET", f"/jobs/{job.id}/log?attempt=1", web.admin, headers={"Accept": "text/plain"})
    assert (text.mimetype, text.text) == ("text/plain", "one\ntwo\nthree\n")
