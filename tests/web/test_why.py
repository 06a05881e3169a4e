"""Why a job waits, asked over HTTP: the filters that fill the sets, and the record of each placement."""

from __future__ import annotations

from typing import Any

import pytest

from app.ledger import jobs, workers
from app.pool.model import Intent, WorkerId
from app.web import why
from tests.web.conftest import Web

RECORD = {
    "strategy": "least-loaded",
    "score": 0.1,
    "queued": False,
    "load": 0.1,
    "parts": {"gpu": {"share": 0.2, "measured": True}, "queue": {"share": 0.0, "measured": True}, "vram": None},
}


def joined(web: Web, name: str, **rest: Any) -> WorkerId:
    admission = web.join(web.offer(name, machine_id=name, **rest))
    web.beat(admission)
    return WorkerId(admission["worker"])


def test_every_filter_says_how_many_and_whom_it_turned_away(web: Web) -> None:
    full, paused, other = joined(web, "full"), joined(web, "paused"), joined(web, "other", workflows=[])
    workers.set_intent(web.ledger, paused, Intent.PAUSED)
    web.services.redis.hset(f"pool:lease:{full}", "0" * 12, '{"attempt": 1, "state": "given", "slots": 1}')
    answered = web.get(f"/jobs/{web.submit()['id']}/why")
    assert {each["filter"]: (each["workers"], each["first"][0]["id"]) for each in answered["filters"]} == {
        "slots": (1, full),
        "paused": (1, paused),
        "workflow": (1, other),
    }
    assert answered["summary"] == "3 workers: 1 is paused, 1 is full, 1 does not offer burn"
    web.services.redis.delete(f"pool:lease:{full}")
    answered = web.get(f"/jobs/{web.submit()['id']}/why")
    assert (answered["ready"], answered["first_ready"][0]["id"]) == (1, full)


def test_a_creator_asks_of_own_jobs_only(web: Web) -> None:
    job = web.submit()["id"]
    assert web.get(f"/jobs/{job}/why", web.creator)["summary"] == "no worker has joined the pool yet"
    assert web.ask("GET", f"/jobs/{job}/why", web.token("creator", "eve")).status_code == 404


def test_a_placed_job_says_who_won_and_who_came_next(web: Web) -> None:
    won, next_one = joined(web, "won"), joined(web, "next")
    record = {**RECORD, "runners_up": [{"worker": next_one, "score": 0.3, "queued": False}]}
    job = web.submit()["id"]
    assert jobs.assign(web.ledger, [jobs.Assignment(job, 1, won, 1, placement=record)]) == {job}
    answered = web.get(f"/jobs/{job}/why")
    assert (answered["waiting"], answered["filters"], answered["workers"]) == (None, [], None)
    [placement] = answered["placements"]
    assert (placement["worker_name"], placement["parts"]["gpu"]["share"]) == ("won", 0.2)
    assert [each["worker_name"] for each in placement["runners_up"]] == ["next"]


def test_a_large_fleet_costs_so_many_looks_and_says_so(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(why, "LOOKED_AT", 1)
    for name in ("a", "b", "c"):
        joined(web, name)
    answered = web.get(f"/jobs/{web.submit()['id']}/why")
    assert (answered["workers"], answered["ready"], answered["not_looked_at"]) == (3, 1, 2)
    assert "2 more would fit" in answered["summary"]
