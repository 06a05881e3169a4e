"""A success that may be none says so: by its workflow's own words, by empty outputs, or by none where all had some."""

from __future__ import annotations

import pytest

from app.ledger.result_warnings import BEFORE, FEWEST, OF_WORKFLOW
from app.pool.model import LIMITS, FileFact, Job, Json, Requirement, Worker
from tests.kit.actors import ANY, join, running, submit, tell
from tests.kit.web import HTML, Web, signed_in


@pytest.fixture
def worker(web: Web) -> Worker:
    return join(web.ledger)


def success(web: Web, worker: Worker, *sizes: int, requirement: Requirement = ANY) -> Job:
    """A job that succeeds with a file of each of these sizes: f0.exr, f1.exr, …"""
    job = running(web.ledger, worker, submit(web.ledger, requirement))
    files = tuple(FileFact(f"f{at}.exr", size, "0" * 64) for at, size in enumerate(sizes))
    tell(web.ledger, worker, job, 1, "end", end="succeeded", files=files)
    return job


def warnings(web: Web, job: Job) -> list[str]:
    """The warnings of a job, which its own answer and the list have alike."""
    found: list[str] = web.get(f"/jobs/{job.id}")["warnings"]
    [listed] = [each for each in web.get("/jobs?limit=200")["items"] if each["id"] == job.id]
    assert listed["warnings"] == found
    return found


def page(web: Web, job: Job) -> str:
    return signed_in(web, web.admin).get(f"/jobs/{job.id}", headers=HTML).get_data(as_text=True)


def test_empty_outputs_are_named_and_marked_on_the_page(web: Web, worker: Worker) -> None:
    assert warnings(web, success(web, worker, 7, 1)) == []
    job = success(web, worker, 7, 0)
    assert warnings(web, job) == ["its output f1.exr is empty"]
    assert warnings(web, success(web, worker, 0, 7, 0, 0)) == ["its output f0.exr and 2 more are empty"]
    assert '<p class="warning">Its output f1.exr is empty.</p>' in page(web, job)
    assert page(web, job).count(">empty</span>") == 1


def test_a_success_without_outputs_says_so_where_the_workflow_has_always_had_some(web: Web, worker: Worker) -> None:
    for _ in range(FEWEST - 1):
        success(web, worker, 7)
    assert warnings(web, success(web, worker)) == []  # too few to tell a habit
    for _ in range(BEFORE):
        success(web, worker, 7)
    job = success(web, worker)
    assert warnings(web, job) == [f"it left no file, though the last {BEFORE} successes of burn all did"]
    assert "It left no file, though the last" in page(web, job)
    assert warnings(web, success(web, worker)) == []  # by now it is known to happen


def test_the_habit_is_that_of_its_own_workflow_and_of_those_before_it(web: Web, worker: Worker) -> None:
    first = success(web, worker)
    for _ in range(FEWEST):
        success(web, worker, 7, requirement=Requirement("render"))
    assert warnings(web, success(web, worker)) == []
    assert warnings(web, first) == []
    assert warnings(web, success(web, worker, requirement=Requirement("render"))) != []


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            {"warnings": ["sound track 2 is left out", "it is <b>short</b>."]},
            ["sound track 2 is left out", "it is <b>short</b>"],
        ),
        ({"warnings": ["x" * 300, "nul \0", "", 7, None]}, ["x" * LIMITS.text_characters, "nul \ufffd"]),
        ({"warnings": [str(number) for number in range(100)]}, [str(number) for number in range(OF_WORKFLOW)]),
        ({"warnings": "all"}, []),
        ({"warnings": None}, []),
        (["warnings"], []),
        (None, []),
    ],
)
def test_what_the_workflow_warns_of_is_shown(web: Web, worker: Worker, result: Json, said: list[str]) -> None:
    job = running(web.ledger, worker, submit(web.ledger, ANY))
    tell(web.ledger, worker, job, 1, "end", end="succeeded", result=result, files=(FileFact("a", 1, "0" * 64),))
    assert warnings(web, job) == said
    shown = page(web, job)
    assert shown.count('<p class="warning">') == len(said)
    assert "<b>short" not in shown
