"""The pure parts of the pages: filters, sparklines, stories, words."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from werkzeug.datastructures import MultiDict

from app.ledger.registry.samples import MinuteSample
from app.pool import status
from app.pool.duration import duration
from app.pool.model import Attempt, AttemptEnd, Health, JobId, WorkerId
from app.pool.status import WorkerStatus
from app.web.http import filters
from app.web.http.fleet_filter import Filter
from app.web.pages import job_story, sparkline
from app.web.pages.fleet_rows import WorkerRow
from app.web.pages.sparkline import Spark
from app.web.pages.worker import strip
from app.web.shapes.worker_history import TransitionAnswer

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=timezone.utc)
ROW = WorkerRow(
    id="w",
    name="render-01",
    hostname="rack.studio",
    version="1",
    status=WorkerStatus.HEALTHY,
    reason=None,
    slots=1,
    started=1,
    jobs=(),
    idle_since=None,
    cards=(),
    percent=None,
    spark=Spark((), ""),
    tags=("optix", "gpu"),
    groups=("film",),
    heard=None,
    began=None,
)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({}, True),
        ({"status": ["healthy"]}, True),
        ({"status": ["down", "healthy"]}, True),
        ({"status": ["!healthy"]}, False),
        ({"status": ["!down", "!left"]}, True),
        ({"tag": ["optix"], "group": ["film"]}, True),
        ({"tag": ["optix", "!gpu"]}, False),
        ({"host": ["RACK"]}, True),
        ({"host": ["!render"]}, False),
        ({"group": ["tv"]}, False),
    ],
)
def test_plain_words_ask_for_any_and_negated_ones_for_none(asked: dict[str, list[str]], shown: bool) -> None:
    assert Filter.of(MultiDict(asked)).matches(ROW) is shown


def test_a_filter_is_its_url() -> None:
    asked = Filter.of(MultiDict([("tag", "!a b"), ("status", ""), ("status", "down"), ("page", "2"), ("x", "y")]))
    assert asked.url() == "?status=down&tag=%21a+b"
    assert asked.url(3).endswith("&page=3")
    assert [(chip.turned, chip.dropped) for chip in asked.chips()] == [
        ("/?tag=%21a+b&status=%21down", "/?tag=%21a+b"),
        ("/?status=down&tag=a+b", "/?status=down"),
    ]


def test_a_gap_in_the_figures_is_a_gap_in_the_line() -> None:
    samples = [MinuteSample(NOW - timedelta(minutes=age), 0.5, None) for age in (9, 8, 3, 2, 1)]
    spark = sparkline.draw(samples, 1.0, 600, NOW)
    assert [line.count(",") for line in spark.lines] == [2, 4]
    assert spark.lines[1].endswith("120.0,1.5")
    assert spark.words == "use over 10 minutes: mean 58 %, highest 100 %"


def test_a_spark_stands_still_within_a_minute() -> None:
    samples = [MinuteSample(NOW - timedelta(minutes=1), 0.5, None)]
    drawn = {sparkline.draw(samples, 0.5, 600, NOW + timedelta(seconds=s)) for s in (0, 20, 59)}
    assert len(drawn) == 1


def test_the_strip_covers_the_last_day_by_health() -> None:
    joined = TransitionAnswer(from_health=None, to_health=Health.HEALTHY, cause="", incarnation=1, at=NOW)
    changes = [
        joined.model_copy(update={"to_health": Health.DOWN, "at": NOW - timedelta(hours=6)}),
        joined.model_copy(update={"at": NOW - timedelta(hours=30)}),
    ]
    assert [(s.x, s.width, s.health) for s in strip(changes, NOW)] == [(0, 750, "healthy"), (750, 250, "down")]


ATTEMPT = Attempt(JobId("j"), 1, WorkerId("w1"), "render-03", 1, NOW, NOW)


def test_a_story_tells_the_newest_first_with_cause_loss_and_resumption() -> None:
    lost = replace(
        ATTEMPT, ended_at=NOW + timedelta(seconds=90), end=AttemptEnd.TAKEN_AWAY, cause="no heartbeat", lost_s=12.3
    )
    again = replace(ATTEMPT, number=2, resumed_from={"attempt": 1, "number": 7, "fraction": 0.4, "at": "x"})
    second, first = job_story.tell([lost, again], hosts=True)
    assert first.sentences == ("started from the beginning", "taken away after 1 min: no heartbeat; 12 s of work lost")
    assert second.sentences == ("resumed at 40 %, from checkpoint 7 of attempt 1",)
    assert (second.word, second.checkpoint, second.worker_name) == ("running", "checkpoint-1-7", "render-03")


def test_a_story_says_in_words_what_stopped_an_attempt() -> None:
    killed = replace(ATTEMPT, ended_at=NOW + timedelta(seconds=4), end=AttemptEnd.STOPPED, cause="slot", signal=9)
    [entry] = job_story.tell([killed], hosts=True)
    assert entry.sentences[1] == "stopped after 4 s: its slot process died; its process was ended by SIGKILL"


def test_a_story_for_those_who_see_no_hosts_names_none() -> None:
    [entry] = job_story.tell([ATTEMPT], hosts=False)
    assert (entry.worker, entry.worker_name) == (None, None)


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (40, "signal 40")])
def test_a_death_is_told_by_its_signal(number: int, name: str) -> None:
    dead = replace(ATTEMPT, end=AttemptEnd.FAILED, cause="guard", signal=number, ended_at=NOW)
    [entry] = job_story.tell([dead], hosts=True)
    assert f"its process was ended by {name}" in entry.sentences[1]


def test_a_failure_is_told_with_its_exit_code_its_cause_and_what_a_rule_says() -> None:
    ended = replace(ATTEMPT, end=AttemptEnd.FAILED, ended_at=NOW)
    busy = replace(ended, cause="workflow", exit_code=75, then="later")
    short = replace(ended, cause="gpu memory", then="never")
    told = [entry.sentences[1] for entry in job_story.tell([short, busy], hosts=True)]
    assert told == [
        "failed after 0 s; its process ended with exit code 75; a rule of its workflow says: try again later",
        "failed after 0 s: its GPU's memory was used up; a rule of its workflow says: do not try again",
    ]


@pytest.mark.parametrize("name", ["password", "api_token", "client_SECRET"])
def test_a_parameter_whose_name_says_secret_is_hidden(name: str) -> None:
    assert "hunter2" not in filters.parameter("hunter2", name)


def test_figures_are_written_for_people() -> None:
    assert [duration(s) for s in (None, 41.9, 61, 3_900, 100_000)] == [
        "–",
        "41 s",
        "1 min",
        "1 h 05 min",
        "1 d 3 h",
    ]
    assert [status.size(n) for n in (0, 1023, 1536, 5 * 1024**3)] == ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 GiB"]
    assert [filters.gib(n) for n in (None, 0, 1_536, 24_564)] == ["–", "0", "1.5", "24"]
