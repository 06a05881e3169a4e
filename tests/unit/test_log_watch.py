"""Lines that make a success a failure are found anywhere in a log, at a bounded price."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from agent.attempt.log_watch import AT_ONCE_S, SHARE, LogWatch
from agent.log.last_lines import CHARACTERS
from app.pool.model import FileFact, JobId, WorkerId
from app.pool.protocol import Report

PLAIN = b"".join(b"Fra:%d Mem:12.00M | Time:00:01.10 | Rendering %d / 64 samples\n" % (at, at) for at in range(2_000))
HOSTILE = "(a+)+$"


def watching(*patterns: str, now: Callable[[], float] = time.monotonic) -> tuple[LogWatch, list[str]]:
    """A watch for these patterns, and what it remarks."""
    remarks: list[str] = []
    return LogWatch(patterns, remarks.append, now), remarks


def found(*patterns: str, in_: bytes, before: int = 0) -> str | None:
    watch = watching(*patterns)[0]
    for block in (*[PLAIN] * before, in_):
        watch.feed(block)
    return watch.found


@pytest.mark.parametrize("pattern", ["are missing", "(?i)ARE MISSING", r"librar(y|ies)", r"^Warning: \d", r"missing$"])
def test_a_line_is_found_wherever_in_the_log_it_stands(pattern: str) -> None:
    line = b"Warning: 2 libraries are missing\n"
    for place in (line + PLAIN, PLAIN + line, PLAIN + line + PLAIN):
        assert found(pattern, in_=place, before=50) == "Warning: 2 libraries are missing"
    assert found(pattern, in_=PLAIN, before=2) is None


def test_the_first_line_of_the_first_pattern_that_fits_is_told() -> None:
    assert found("lost", "miss", in_=b"one miss\nlost one\nlost two\n") == "lost one"
    watch, _ = watching("miss")
    watch.feed(b"miss 1\n")
    watch.feed(b"miss 2\n")
    assert watch.found == "miss 1"


def test_lines_stand_alone() -> None:
    assert found(r"are\s+missing", in_=b"files are\nmissing ones\n") is None
    assert found("^ok$", in_=b"not ok\nok\n") == "ok"
    assert found("a[^x]*z", in_=b"a\nz\n") is None


def test_text_that_begins_with_a_line_end_is_in_no_line_and_is_soon_looked_for() -> None:
    watch, remarks = watching("\nmissing")
    watch.feed(b"one\nmissing\nmissing\n")
    assert (watch.found, remarks) == (None, [])


def test_of_a_line_its_beginning_counts_and_what_is_told_is_short() -> None:
    long = b"x" * (CHARACTERS - 4)
    assert found("lost", in_=long + b"lost\n") == "x" * 200
    assert found("lost", in_=long + b" lost\n") is None
    assert found("lost", in_="é".encode() * (CHARACTERS - 4) + b"lost\n") is not None


def test_what_is_no_text_is_looked_through_all_the_same() -> None:
    assert found("lost", in_=b"\xff\xfe\x00lost\xff\n") == "\ufffd\ufffd\x00lost\ufffd"
    assert found("größe", in_="Die größe fehlt\n".encode()) == "Die größe fehlt"


def test_a_pattern_that_backtracks_for_ever_is_given_up_and_the_others_go_on() -> None:
    watch, remarks = watching(HOSTILE, "lost")
    began = time.process_time()
    for _ in range(20):
        watch.feed(b"a" * 60 + b"b\n")
    assert time.process_time() - began < 2.0  # once, not twenty times
    assert remarks == [f"the pattern {HOSTILE!r} of this workflow's fail_when was given up: it takes too long"]
    watch.feed(b"frame lost\n")
    assert watch.found == "frame lost"


def test_patterns_that_take_too_much_of_the_time_are_given_up_the_costliest_first() -> None:
    passed = 0.0
    watch, remarks = watching(r"\d+x\d*$|zz", "lost", now=lambda: passed)
    costly, cheap = watch._needles
    costly.spent_s, cheap.spent_s = AT_ONCE_S + SHARE * 100, 0.5
    passed = 103.0
    watch.feed(b"nothing\n")
    assert remarks == []  # within what so long an attempt may take
    passed = 102.0
    watch.feed(b"nothing\n")
    [remark] = remarks
    assert repr(costly.pattern) in remark
    watch.feed(b"lost\n")
    assert watch.found == "lost"


def test_a_success_becomes_a_failure_that_names_the_line_and_no_other_end_changes() -> None:
    watch, _ = watching("lost")
    base = {"job": JobId("j"), "attempt": 1, "exit_code": 0}
    success = Report("end", WorkerId("w"), 1, end="succeeded", result=3, files=(FileFact("a", 1, "0"),), **base)  # type: ignore[arg-type]
    failure = Report("end", WorkerId("w"), 1, end="failed", error="exit code 1", **base)  # type: ignore[arg-type]
    assert watch.judged(success) is success
    watch.feed(b"  frame 3 lost  \n")
    judged = watch.judged(success)
    assert (judged.end, judged.cause, judged.result, judged.files) == ("failed", "workflow", None, ())
    assert (judged.error or "").splitlines()[-1] == "frame 3 lost"
    assert watch.judged(failure) is failure
