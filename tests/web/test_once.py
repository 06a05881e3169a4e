"""Idempotency keys: repeating a submission is harmless."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.actions import jobs
from tests.kit.web import Web


def post(web: Web, key: str, **body: Any) -> TestResponse:
    return web.ask("POST", "/jobs", web.creator, json={"workflow": "burn", **body}, headers={"Idempotency-Key": key})


def test_the_same_key_and_body_give_the_first_answer_again(web: Web) -> None:
    first, again = post(web, "k"), post(web, "k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_json() == again.get_json()
    assert len(web.get("/jobs")["items"]) == 1


def test_the_same_key_with_another_body_is_refused(web: Web) -> None:
    post(web, "k")
    assert post(web, "k", name="other").status_code == 422


def test_another_owner_s_key_is_another_key(web: Web) -> None:
    post(web, "k")
    web.creator = web.token("creator", "eve")
    assert post(web, "k").get_json()["owner"] == "eve"


def test_a_refused_submission_frees_its_key(web: Web) -> None:
    assert post(web, "k", group="night").status_code == 422
    assert post(web, "k").status_code == 201


def test_of_two_at_once_with_one_key_one_job_is_made(web: Web) -> None:
    with ThreadPoolExecutor(2) as pool:
        answered = list(pool.map(lambda _: post(web, "k"), range(2)))
    assert {each.status_code for each in answered} <= {201, 409}
    assert len(web.get("/jobs")["items"]) == 1


def test_while_the_first_runs_the_second_is_told_to_wait(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    check, seen = jobs.check, []

    def slow(*given: Any) -> list[jobs.Submission]:
        monkeypatch.setattr(jobs, "check", check)
        seen.append(post(web, "k").status_code)
        return check(*given)

    monkeypatch.setattr(jobs, "check", slow)
    assert post(web, "k").status_code == 201
    assert seen == [409]
