"""The supervisor with real programs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.pool.errors import PoolError
from app.up.processes import Program
from app.up.supervisor import STOP_SIGNALS, StopRequested, Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """One that starts again what ends; afterwards signals are ours again."""
    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGCHLD)}
    supervisor = Supervisor(tmp_path, restart=True)
    yield supervisor
    supervisor.stop(["child"], time.monotonic())
    supervisor.close()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def python(code: str) -> Program:
    return Program("child", (sys.executable, "-c", code))


def log(folder: Path) -> str:
    path = folder / "child.log"
    return path.read_text() if path.exists() else ""


def test_last_words_without_a_line_end_are_kept(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(python("import sys; sys.stdout.write('last words'); sys.exit(3)"))
    assert supervisor.wait(lambda: "last words" in log(tmp_path), 10)
    assert supervisor.wait(lambda: "exit code 3" in (tmp_path / "up.log").read_text(), 10)


def test_a_line_without_end_does_not_grow_without_end(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(python("print('x' * 300000, end='', flush=True); import time; time.sleep(60)"))
    assert supervisor.wait(lambda: log(tmp_path).count("x") > 200_000, 10)


def test_what_ends_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(python("print('a life')"))
    assert supervisor.wait(lambda: log(tmp_path).count("a life") == 2, 10)


def test_what_ignores_the_stop_signal_is_killed_at_the_deadline(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(
        python("import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause()")
    )
    assert supervisor.wait(lambda: "deaf" in log(tmp_path), 10)
    began = time.monotonic()
    supervisor.stop(["child"], began + 0.3)
    assert 0.3 <= time.monotonic() - began < 5
    with pytest.raises(PoolError, match="ended at its start"):
        supervisor.expect("child")


def test_a_signal_stops_it_between_two_steps(supervisor: Supervisor) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StopRequested):
        supervisor.run()
