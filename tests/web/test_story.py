"""What a job's owner is told of its attempts: checkpoints, lost work, refused reports, possible overlap."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from app.ledger import attempts, investigations, jobs, open_attempts, policy
from app.ledger.investigations import SuspectedCause
from app.ledger.registry import workers
from app.pool.model import Health, Job, JobId, Worker
from app.web.pages.orphan_window import overlaps
from app.web.shapes.job_bodies import body_of
from tests.kit.actors import ANY, assign, join, killed, running, submit, tell
from tests.kit.web import HTML, Web, signed_in


def down(web: Web, worker: Worker, cause: SuspectedCause = SuspectedCause.HOST_SILENT) -> None:
    """The worker has failed, and its running jobs are taken away."""
    assert workers.set_health(web.ledger, worker, Health.DOWN, "silent", "down")
    investigations.begin(web.ledger, worker.id, worker.incarnation, cause, {}, 1.0)
    open_attempts.take_away_all(web.ledger, worker.id, "silent", spare_strict=False)


def until(web: Web, job: JobId) -> dict[int, datetime]:
    found = jobs.find(web.ledger, job)
    assert found
    return overlaps(web.ledger, found, attempts.of_job(web.ledger, job))


def checkpoint(web: Web, worker: Worker, job: Job, number: int) -> None:
    state = {"step": number, "steps": 10}
    tell(web.ledger, worker, job, job.attempt, "checkpoint", number=number, state=state, fraction=number / 10)


def test_checkpoints_are_paged_newest_first_and_a_later_attempt_is_newer(web: Web) -> None:
    first, second = join(web.ledger, "a"), join(web.ledger, "b")
    job = running(web.ledger, first)
    for number in (7, 8):
        checkpoint(web, first, job, number)
    open_attempts.take_away_all(web.ledger, first.id, "silent")
    again = jobs.find(web.ledger, job.id)
    assert again
    again = assign(web.ledger, again, second)
    tell(web.ledger, second, again, 2, "claim", nonce="m")
    checkpoint(web, second, again, 1)
    page = web.get(f"/jobs/{job.id}/checkpoints?limit=2")
    rest = web.get(f"/jobs/{job.id}/checkpoints?limit=2&cursor={page['next']}")
    found = page["items"] + rest["items"]
    assert [(each["attempt"], each["number"]) for each in found] == [(2, 1), (1, 8), (1, 7)]
    assert (found[0]["state"], found[0]["kept"], rest["next"]) == ({"step": 1, "steps": 10}, True, None)
    stranger = web.token("creator", "somebody")
    assert web.ask("GET", f"/jobs/{job.id}/checkpoints", stranger).status_code == 404
    assert web.ask("GET", f"/jobs/{job.id}/checkpoints?cursor=x", web.admin).status_code == 422


def test_a_late_result_is_named_with_its_attempt(web: Web) -> None:
    worker = join(web.ledger)
    job = running(web.ledger, worker)
    down(web, worker)
    tell(web.ledger, worker, job, 1, "end", end="succeeded", result=1)
    page = signed_in(web, web.admin).get(f"/jobs/{job.id}", headers=HTML).text
    assert "A late result of attempt 1 was refused at" in page
    assert until(web, job.id) == {}  # its end was reported: nothing of it is left


def test_a_job_on_a_cut_off_host_may_overlap_until_its_orphan_time_is_over(web: Web) -> None:
    worker = join(web.ledger)
    job = running(web.ledger, worker)
    down(web, worker)
    end = attempts.of_job(web.ledger, job.id)[0].ended_at
    assert end and until(web, job.id) == {1: end + timedelta(seconds=610)}
    page = signed_in(web, web.admin).get(f"/jobs/{job.id}", headers=HTML).text
    assert "two attempts may overlap until" in page and "running (moving)" in page
    policy.write(web.ledger, {"max_orphan_s": 5}, "root")
    assert until(web, job.id) == {1: end + timedelta(seconds=15)}


@pytest.mark.parametrize("known", ["strict", "strict pool", "proven dead", "heard of again", "a new incarnation"])
def test_no_overlap_is_said_where_there_can_be_none(web: Web, known: str) -> None:
    worker = join(web.ledger)
    job = running(web.ledger, worker, submit(web.ledger, ANY, strict=known == "strict"))
    down(web, worker, SuspectedCause.PROCESS_KILLED if known == "proven dead" else SuspectedCause.HOST_SILENT)
    if known == "strict pool":
        policy.write(web.ledger, {"strict": True}, "root")
    if known == "heard of again":
        now = workers.find(web.ledger, worker.id)
        assert now and workers.set_health(web.ledger, now, Health.HEALTHY, "beats again", "healthy")
    if known == "a new incarnation":
        join(web.ledger)
    assert until(web, job.id) == {}


def test_a_failed_job_says_until_when_it_waits(web: Web) -> None:
    worker = join(web.ledger)
    job = running(web.ledger, worker)
    tell(web.ledger, worker, job, 1, "end", end="failed", cause="workflow", error="no", exit_code=1)
    waiting = web.get(f"/jobs/{job.id}")["waiting"]
    assert waiting["for"] == "time" and waiting["why"] == "to be tried again after failure 1 of 3"
    assert datetime.fromisoformat(waiting["until"]) > datetime.now(timezone.utc)
    assert "waits until" in signed_in(web, web.admin).get(f"/jobs/{job.id}", headers=HTML).text


def test_a_job_submitted_with_a_state_of_its_own_says_so(web: Web) -> None:
    job = web.submit(resume={"step": 4})
    assert web.get(f"/jobs/{job['id']}")["resume"] == {"step": 4}
    page = signed_in(web, web.creator).get(f"/jobs/{job['id']}", headers=HTML).text
    assert "a state that it was submitted with" in page


def test_the_owner_is_told_of_a_move_and_each_admin_of_the_worker(web: Web) -> None:
    first, second = join(web.ledger, "a"), join(web.ledger, "b")
    job = running(web.ledger, first)
    down(web, first)
    again = jobs.find(web.ledger, job.id)
    assert again
    tell(web.ledger, second, assign(web.ledger, again, second), 2, "claim", nonce="m")
    owner, other = web.token("creator", job.spec.owner), web.token("admin", "second admin")
    told = web.get("/notifications", owner)
    assert ([each["kind"] for each in told["items"]], told["unread"]) == (["job.moved"], 1)
    facts = told["items"][0]["facts"]
    assert (facts["from_name"], facts["to_name"], facts["cause"]) == ("a", "b", "silent")
    assert [each["kind"] for each in web.get("/notifications")["items"]] == ["worker.down"]
    assert web.get("/notifications", other)["items"] == []  # whose token was made later
    one = told["items"][0]["id"]
    assert web.ask("POST", f"/notifications/{one}/read", web.admin).get_json() == {"marked": 0}
    assert web.ask("POST", f"/notifications/{one}/read", owner).get_json() == {"marked": 1}


def test_a_job_that_takes_workers_down_pauses_with_its_time_and_its_page_says_why_it_ended(web: Web) -> None:
    job = killed(web.ledger, submit(web.ledger), "vm-1", "vm-1")
    paused = web.get(f"/jobs/{job.id}")["waiting"]
    assert (paused["for"], paused["until"] is not None) == ("time", True)
    assert paused["why"].startswith("it was lost again and again") and "(vm-1 twice)" in paused["why"]
    assert body_of(job)["not_before"] is None  # the pause is not the submitter's wish

    killed(web.ledger, job, "vm-2")
    page = signed_in(web, web.admin).get(f"/jobs/{job.id}", headers=HTML).text
    why = "3 workers died under it, without a checkpoint in between: vm-1 twice, vm-2"
    assert why in page
    assert page.count("its host is gone") == 3
    assert web.get(f"/jobs/{job.id}")["error"] == why
