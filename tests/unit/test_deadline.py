"""The deadline's words: moved on by one process, read by others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ipc.deadline import Deadline, DeadlineWriter, Past, make_deadline
from agent.processes import boottime_ns
from app.pool.policy import Clocks

CLOCKS = Clocks(interval_s=15, missed_beats=2)  # strict: 30 s and 35 s
SECOND = 1_000_000_000

WRITES = """
import sys
from agent.ipc.deadline import DeadlineWriter, read_only
from app.pool.policy import Clocks
read_only(int(sys.argv[1]))
DeadlineWriter(int(sys.argv[1]))
"""


@pytest.fixture
def fd() -> Iterator[int]:
    fd = make_deadline()
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("strict", "silent_s", "past"),
    [
        (True, 29, Past.NOT),
        (True, 31, Past.TERM),
        (True, 36, Past.KILL),
        (False, 99, Past.NOT),
        (False, 101, Past.TERM),
        (False, 111, Past.KILL),
    ],
)
def test_a_deadline_counts_from_when_the_last_beat_that_got_through_was_begun(
    fd: int, strict: bool, silent_s: int, past: Past
) -> None:
    DeadlineWriter(fd).move_on(boottime_ns() - silent_s * SECOND, CLOCKS, 600)
    assert Deadline(fd, strict, max_orphan_s=100).past() is past


def test_before_the_first_beat_every_deadline_has_passed(fd: int) -> None:
    assert Deadline(fd, strict=True, max_orphan_s=1).past() is Past.KILL


def test_a_beat_that_gets_through_moves_it_on(fd: int) -> None:
    writer, deadline = DeadlineWriter(fd), Deadline(fd, strict=True, max_orphan_s=600)
    writer.move_on(boottime_ns() - 60 * SECOND, CLOCKS, 600)
    assert deadline.past() is Past.KILL
    writer.move_on(boottime_ns(), CLOCKS, 600)
    assert deadline.past() is Past.NOT


def test_the_pools_limit_holds_for_attempts_without_one_of_their_own_from_the_next_beat_on(fd: int) -> None:
    writer, pools, own = DeadlineWriter(fd), Deadline(fd, False, None), Deadline(fd, False, 600)
    sent = boottime_ns() - 20 * SECOND
    writer.move_on(sent, Clocks(1, 2), 600)
    assert (pools.past(), own.past()) == (Past.NOT, Past.NOT)
    writer.move_on(sent, Clocks(1, 2), 5)
    assert (pools.past(), own.past()) == (Past.KILL, Past.NOT)


def test_no_limit_is_so_low_that_it_ends_a_job_between_two_beats(fd: int) -> None:
    DeadlineWriter(fd).move_on(boottime_ns() - 14 * SECOND, CLOCKS, 1)
    assert Deadline(fd, False, None).past() is Deadline(fd, False, 1).past() is Past.NOT


@pytest.mark.parametrize(
    ("interval_s", "late_s", "overdue"), [(15, 0.5, False), (15, 1.1, True), (1, 0.1, False), (1, 0.2, True)]
)
def test_a_guard_has_a_second_or_half_of_its_warning_before_main_takes_over(
    fd: int, interval_s: float, late_s: float, overdue: bool
) -> None:
    clocks = Clocks(interval_s, missed_beats=2)
    DeadlineWriter(fd).move_on(boottime_ns() - int((clocks.strict_kill_s + late_s) * SECOND), clocks, 600)
    assert Deadline(fd, strict=True, max_orphan_s=None).overdue() is overdue


def test_a_reader_cannot_write(fd: int) -> None:
    code = subprocess.run(
        [sys.executable, "-c", WRITES, str(fd)],
        pass_fds=[fd],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in code.stderr
