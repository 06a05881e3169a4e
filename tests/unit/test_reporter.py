"""What a workflow says, as reports; and how an attempt's end is told."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from agent.attempt.ending import CANCEL, DEADLINE, ending, failure
from agent.attempt.reporter import PROGRESS_S, Reporter
from agent.log.attempt_log import AttemptLog
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Cause, Order
from app.pool.status import ended_words
from tests.kit.services import eventually

ORDER = Order(JobId("0123456789ab"), 3, WorkerId("abcdefghjkmn"), 1, "burn", {})


@pytest.fixture
def said() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def log() -> AttemptLog:
    return AttemptLog(lambda passage: None)


@pytest.fixture
def reporter(said: list[dict[str, Any]], log: AttemptLog) -> Reporter:
    return Reporter(ORDER, lambda message: said.append(message["report"]), log)


def _of(said: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [report for report in said if report["kind"] == kind]


def test_a_report_names_its_attempt_and_leaves_the_worker_to_main(reporter: Reporter, said: list[Any]) -> None:
    reporter.heard({"checkpoint": {"frame": 4}, "number": 9, "files": []})
    assert (said[0]["job"], said[0]["attempt"], said[0]["number"]) == (ORDER.job, 3, 9)
    assert "worker" not in said[0] and "incarnation" not in said[0]


def test_of_quick_progress_the_newest_is_kept(reporter: Reporter, said: list[Any]) -> None:
    for percent in range(50):
        reporter.heard({"progress": percent / 100, "text": ""})
        reporter.flush()
    assert [report["fraction"] for report in said] == [0.0]

    def second() -> bool:
        reporter.flush()
        return len(said) == 2

    eventually(second, seconds=PROGRESS_S * 20)
    assert [(report["number"], report["fraction"]) for report in said] == [(1, 0.0), (2, 0.49)]


def test_what_was_said_before_a_checkpoint_is_reported_before_it(reporter: Reporter, said: list[Any]) -> None:
    for fraction in (0.1, 0.2):
        reporter.heard({"progress": fraction})
        reporter.flush()
    reporter.heard({"checkpoint": 1, "number": 1})
    assert [(report["kind"], report["fraction"]) for report in said] == [
        ("progress", 0.1),
        ("progress", 0.2),
        ("checkpoint", 0.2),
    ]


@pytest.mark.parametrize("message", [{"progress": "half"}, {"end": "perhaps"}, {"checkpoint": 1}])
def test_words_of_the_wrong_shape_are_not_passed_on(
    reporter: Reporter, said: list[Any], message: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        reporter.heard(message)
    reporter.flush(all_of_it=True)
    assert said == []


def test_a_workflow_may_say_what_follows_from_its_failure(reporter: Reporter) -> None:
    reporter.heard({"end": "failed", "error": "no film", "then": "never"})
    assert ending(reporter, None, 0).then == "never"


def test_a_success_said_in_time_counts_though_it_was_cancelled(reporter: Reporter) -> None:
    reporter.heard({"end": "succeeded", "result": 1, "outputs": []})
    assert ending(reporter, CANCEL, -signal.SIGKILL).end == "succeeded"


def test_a_failure_on_being_cancelled_is_a_cancel(reporter: Reporter) -> None:
    reporter.heard({"end": "failed", "error": "broken pipe"})
    end = ending(reporter, CANCEL, 1)
    assert (end.end, end.cause, end.error) == ("cancelled", "cancel", "broken pipe")


def test_a_deadline_is_no_failure_and_a_timeout_is_one(reporter: Reporter) -> None:
    assert ending(reporter, DEADLINE, -9).end == "stopped"
    assert ending(reporter, failure(Cause.TIMEOUT, "too long"), -9).end == "failed"


@pytest.mark.parametrize(("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGRTMIN + 6, "signal 40")])
def test_a_silent_death_is_told_with_its_signal_and_last_lines(
    reporter: Reporter, log: AttemptLog, number: int, name: str
) -> None:
    log.hear("o", b"one\n")
    log.hear("e", b"two\n")
    end = ending(reporter, None, -number)
    assert (end.end, end.signal, end.exit_code) == ("failed", number, None)
    assert end.error == f"its process was killed by {name}\none\ntwo"


def test_a_death_has_words_whether_or_not_its_signal_has_a_name() -> None:
    assert [ended_words(code) for code in (0, 3, -9, -signal.SIGRTMIN, -40)] == [
        "exit code 0",
        "exit code 3",
        "killed by SIGKILL",
        "killed by SIGRTMIN",
        "killed by signal 40",
    ]


@pytest.mark.parametrize(
    ("said", "code", "exit_code"),
    [
        ({"end": "succeeded"}, 0, 0),
        ({"end": "failed", "error": "no"}, 0, None),  # it raised: the process has said so and left in order
        ({"end": "failed", "error": "no"}, 1, 1),
        ({"end": "failed", "error": "no", "exit_code": 75}, 0, 75),
        ({"end": "stopped", "error": "as asked"}, 0, None),
    ],
)
def test_the_exit_code_is_the_workflows(
    reporter: Reporter, said: dict[str, Any], code: int, exit_code: int | None
) -> None:
    reporter.heard(said)
    assert ending(reporter, None, code).exit_code == exit_code


def test_an_attempt_that_ends_without_a_word_has_its_process_exit_code(reporter: Reporter) -> None:
    assert ending(reporter, None, 0).exit_code == 0


def test_a_command_that_fails_is_told_with_its_last_lines(reporter: Reporter, log: AttemptLog) -> None:
    reporter.heard({"end": "failed", "error": "exit code 3", "exit_code": 3, "last_lines": True})
    log.hear("o", b"".join(b"line %d\n" % number for number in range(30)))
    error = ending(reporter, None, 0).error
    assert error == "\n".join(["exit code 3", *(f"line {number}" for number in range(10, 30))])


def test_a_remark_is_a_line_of_the_log(reporter: Reporter, log: AttemptLog) -> None:
    reporter.heard({"remark": "not understood: ::progress x"})
    assert reporter.recent == ["not understood: ::progress x"]
