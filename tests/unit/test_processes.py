"""Finding and ending processes, on real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.processes import carried_by, descendants, kill_all, reap
from app.pool.model import new_id
from tests.kit.services import eventually
from tests.kit.steps import ESCAPE

ORPHAN = """
import os, signal, sys
from agent.processes import die_with_parent
if os.fork():
    os.wait()
    os._exit(0)
die_with_parent(signal.SIGKILL, os.getppid() + int(sys.argv[1]))
print(os.getpid(), flush=True)
signal.pause()
"""

FORKS = r"""
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(4):
    os.fork()
os.write(1, b"there\n")
signal.pause()
"""


@pytest.fixture
def job() -> str:
    return new_id()


@contextmanager
def _start(job: str, attempt: int, code: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A process that carries this attempt; in the end nothing does any more."""
    environment = {**os.environ, "MUSTER_JOB": job, "MUSTER_ATTEMPT": str(attempt), "PYTHONPATH": str(Path.cwd())}
    argv = [sys.executable, "-c", code, *args]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            kill_all(lambda: carried_by(job))


def test_what_escaped_by_setsid_and_two_forks_is_found_by_its_environment(job: str, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    with _start(job, 2, ESCAPE, str(mark)):
        eventually(mark.exists)
        escaped = int(mark.read_text())
        assert carried_by(job, 2) == carried_by(job) == {escaped}
        assert carried_by(job, 1) == set()
        assert escaped not in descendants(os.getpid())
        assert kill_all(lambda: carried_by(job)) == set()
        assert carried_by(job) == set()


def test_all_that_descends_from_a_process_is_killed_though_it_ignores_sigterm(job: str) -> None:
    with _start(job, 1, FORKS) as process:
        assert process.stdout is not None
        for _ in range(16):
            assert process.stdout.readline() == "there\n"
        assert len(descendants(process.pid)) == 15
        assert kill_all(lambda: carried_by(job)) == set()
        assert descendants(process.pid) == set()


def test_a_dead_process_that_nobody_has_waited_for_does_not_count_as_living(job: str) -> None:
    with _start(job, 1, "pass") as process:
        eventually(lambda: not carried_by(job))
        assert process.pid not in descendants(os.getpid())


def test_what_does_not_die_in_time_is_named() -> None:
    assert kill_all(lambda: {os.getpid() + 2**22}, within_s=0.05) == {os.getpid() + 2**22}


def test_a_child_dies_with_its_parent(job: str) -> None:
    with _start(job, 1, ORPHAN, "0") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()
        eventually(lambda: pid not in carried_by(job), seconds=2)


def test_a_child_dies_when_its_parent_was_gone_before(job: str) -> None:
    with _start(job, 1, ORPHAN, "1") as process:  # it takes another process for its parent
        assert process.stdout is not None
        assert process.stdout.read() == ""


def test_reap_leaves_a_spared_child_to_its_waiter() -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert reap({process.pid})
        assert process.wait() == 7


def test_nobody_is_looked_for_without_a_name() -> None:
    with pytest.raises(ValueError, match="job"):
        carried_by()
