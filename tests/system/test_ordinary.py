"""A Python workflow is an ordinary program: what it does elsewhere it does in a forked process of a slot too."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.pool.model import Parameter, Workflow
from tests.kit.slot_scene import GuardLine, SlotScene

METHODS = ("fork", "spawn", "forkserver")
DONE_S = 120  # of a workflow that starts several interpreters on a busy machine
TERM = -signal.SIGTERM
PARAMETERS = (Parameter("how"), Parameter("mark"))
NAMES = (
    "pool terminated executor managed loader streams asynchronous signalled imported called_in_a_fork ended last_words "
    "forgetful holding path"
)
WORKFLOWS = [
    Workflow(name, "python", target=f"tests.kit.ordinary:{name}", parameters=PARAMETERS) for name in NAMES.split()
]


@pytest.fixture
def main(rq_url: str, tmp_path: Path) -> Iterator[SlotScene]:
    # Not what the agent's own streams were told to be is what a workflow's are.
    environment = {"PYTHONUNBUFFERED": "", "PYTHONIOENCODING": "latin-1", "PYTHONPATH": "/studio"}
    with SlotScene(rq_url, tmp_path, environment, WORKFLOWS) as main:
        yield main


def ended(line: GuardLine) -> Any:
    """The end of an attempt whose guard may take its time."""
    assert line.gone(DONE_S) and line.end
    return line.end


def ran(main: SlotScene, workflow: str, **params: str) -> Any:
    """The result of a job."""
    main.put(main.order(workflow, params=params))
    end = ended(main.guard().claimed())
    assert end["end"] == "succeeded", end["error"]
    return end["result"]


@pytest.mark.timeout(3 * DONE_S)
@pytest.mark.parametrize("how", METHODS)
def test_processes_are_started_asked_and_ended_by_every_method(main: SlotScene, how: str) -> None:
    assert ran(main, "pool", how=how) == [1, 2, 3, 4]
    assert ran(main, "terminated", how=how) == [TERM]
    assert ran(main, "executor", how=how) == [1, 2, 3, 4]
    assert ran(main, "managed", how=how) == [1, 2]
    batches = [[index, index * index] for index in range(6)]
    assert ran(main, "loader", how=how) == [batches, [0, 0]]


@pytest.mark.parametrize("how", METHODS[1:])
def test_a_spawned_process_imports_nothing_of_the_agents_own_affairs(main: SlotScene, how: str) -> None:
    assert ran(main, "imported", how=how) == [[], None]


def test_the_standard_streams_are_streams(main: SlotScene) -> None:
    assert ran(main, "streams") == {
        "written": ["printed", "by a program", "bytes", "é without an end"],
        "kinds": [1, 2, "utf-8", ""],
        "argv": [],
    }


def test_asyncio_hears_of_its_programs_and_signals(main: SlotScene) -> None:
    assert ran(main, "asynchronous") == ["heard", 3]


def test_a_workflows_own_handlers_are_called_and_it_is_told_to_stop_all_the_same(main: SlotScene) -> None:
    line = main.running("signalled")
    line.tell("stop", why="checkpoint", grace_s=DONE_S)
    assert ended(line)["result"] == sorted([signal.SIGTERM, signal.SIGINT, signal.SIGALRM])


def test_a_fork_that_calls_the_job_is_refused_and_harms_nobody(main: SlotScene) -> None:
    answers = ran(main, "called_in_a_fork")
    assert len(answers) == 3 and all("only for the process in which run() was called" in each for each in answers)


def test_threads_and_exit_handlers_have_their_turn_at_the_end(main: SlotScene, tmp_path: Path) -> None:
    ran(main, "ended", mark=str(tmp_path))
    assert (tmp_path / "thread").exists() and (tmp_path / "handler").exists()
    assert (tmp_path / "log").read_text() == "WARNING:root:logged\n"


def test_shared_memory_that_is_left_behind_is_removed(main: SlotScene) -> None:
    assert not Path("/dev/shm", ran(main, "forgetful")).exists()


def test_shared_memory_of_a_killed_workflow_is_removed(main: SlotScene) -> None:
    line = main.running("holding")
    memory = Path("/dev/shm", line.reports[-1]["text"])
    assert memory.exists()
    line.tell("stop", why="cancel", grace_s=0.1)
    assert ended(line)["end"] == "cancelled"
    assert not memory.exists()


def test_programs_are_told_of_the_folders_that_the_agent_was_told_of(main: SlotScene) -> None:
    assert ran(main, "path") == "/studio"


def test_last_words_without_a_line_end_are_kept(main: SlotScene) -> None:
    main.put(main.order("last_words"))
    line = main.guard().claimed()
    assert ended(line)["end"] == "failed"
    assert line.log[-1] == "last words"
