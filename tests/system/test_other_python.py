"""A workflow that names a Python runs there, of any version from 3.9 on and with nothing of the agent's installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.pool.model import FileFact, Parameter, Workflow
from app.pool.protocol import ResumePoint
from tests.kit.slot_scene import SlotScene

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
PYENV = Path.home() / ".pyenv/versions"
STEPS = "ordinary:own ordinary:saved ordinary:hopeless ordinary:steady ordinary:pool steps:polite steps:silent"
START_S = 6  # for an interpreter, on a busy machine
DONE_S = 60


def interpreter(version: str) -> str | None:
    """A Python of this version on this host; None where there is none."""
    if version == "agent":
        return sys.executable
    installed = sorted(PYENV.glob(f"{version}.*/bin/python"))
    return str(installed[-1]) if installed else shutil.which(f"python{version}")


@pytest.fixture(params=["agent", *filter(interpreter, VERSIONS)])
def python(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The Python of a new virtual environment in which nothing is installed."""
    base = interpreter(request.param)
    assert base is not None
    venv = tmp_path / "studio"
    subprocess.run([base, "-m", "venv", "--without-pip", str(venv)], check=True)
    return str(venv / "bin/python")


@pytest.fixture
def main(python: str, rq_url: str, tmp_path: Path) -> Iterator[SlotScene]:
    parameters = (Parameter("how"), Parameter("mark"))
    workflows = [
        Workflow(f"own {step}", "python", f"tests.kit.{step}", python, parameters=parameters) for step in STEPS.split()
    ]
    with SlotScene(rq_url, tmp_path, workflows=workflows) as main:
        yield main


@pytest.mark.timeout(3 * DONE_S)
def test_a_workflow_runs_in_the_python_that_it_names(main: SlotScene, python: str, tmp_path: Path) -> None:
    order = main.order("own ordinary:own")
    main.put(order)
    line = main.guard().claimed()
    assert line.gone(DONE_S) and line.end and line.end["end"] == "succeeded", line.end
    said = line.end["result"]
    assert (said["prefix"], said["agents"], said["argv"]) == (str(tmp_path / "studio"), [], [])
    assert (said["here"], said["job"]) == (str(tmp_path / order.job / "a1"), order.job)
    version = subprocess.run(
        [python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, check=True
    )
    assert said["version"] == [int(part) for part in version.stdout.split()]

    main.put(main.order("own ordinary:pool", params={"how": "spawn"}))
    line = main.guard().claimed()
    assert line.gone(DONE_S) and line.end and line.end["result"] == [1, 2, 3, 4]

    order = main.order("own ordinary:saved")
    main.put(order)
    line = main.guard().claimed()
    assert line.gone(DONE_S) and line.end and line.end["result"] == ["part 0"] and line.log == ["a line"]
    [kept] = [report for report in line.reports if report["kind"] == "checkpoint"]
    files = tuple(FileFact(**fact) for fact in kept["files"])
    resume = ResumePoint(attempt=1, number=kept["number"], state=kept["state"], files=files)
    main.put(replace(order, attempt=2, resume=resume))
    line = main.guard().claimed()
    assert line.gone(DONE_S) and line.end and line.end["result"] == ["part 0", "part 1"]

    main.put(main.order("own ordinary:hopeless"))
    line = main.guard().claimed()
    assert line.gone(DONE_S) and line.end and (line.end["end"], line.end["then"]) == ("failed", "never")


@pytest.mark.timeout(3 * DONE_S)
@pytest.mark.parametrize("python", ["agent", *filter(interpreter, VERSIONS[:1])], indirect=True)
def test_it_is_asked_to_stop_shows_where_it_hangs_and_keeps_the_deadline(main: SlotScene) -> None:
    line = main.running("own steps:polite")
    line.tell("stop", why="checkpoint", grace_s=DONE_S)
    assert line.gone(DONE_S) and line.end and (line.end["end"], line.end["error"]) == ("stopped", "as asked")

    main.put(main.order("own steps:silent", stall_s=START_S))
    line = main.guard().claimed()
    assert line.gone(DONE_S) and line.end and line.end["cause"] == "stall"
    assert any("in silent" in said for said in line.log)

    line = main.running("own ordinary:steady", strict=True)
    main.beating.clear()
    assert line.gone(DONE_S) and line.end and line.end["cause"] == "deadline"


def test_without_its_python_an_attempt_fails_and_says_why(rq_url: str, tmp_path: Path) -> None:
    gone = Workflow("own", "python", "tests.kit.ordinary:own", str(tmp_path / "bin/python"))
    with SlotScene(rq_url, tmp_path, workflows=[gone]) as main:
        main.put(main.order("own"))
        line = main.guard().claimed()
        assert line.gone(DONE_S) and line.end and line.end["end"] == "failed"
    assert any(f"the workflow's Python {gone.python} cannot be started" in said for said in line.log)
