"""A program or Python that a workflow names is found where its declaration says, or the workflow is not offered."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.join import programs
from agent.join.declare import Declared, declared

Declare = Callable[[str], Declared]


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Declares one workflow `x` in a folder that is not the current one."""
    (tmp_path / "studio").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def declares(text: str) -> Declared:
        file = tmp_path / "studio/workflows.toml"
        file.write_text(f"[workflows.x]\n{text}\n")
        return declared(file)

    return declares


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


def of_python(python: str | Path, target: str = "json:loads") -> str:
    return f'runner = "python"\npython = "{python}"\ntarget = "{target}"'


@pytest.mark.parametrize("program", ["./render.sh", "tools/render.sh", "~/render.sh"])
def test_a_programs_path_begins_at_the_folder_of_the_file(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    whole = tmp_path / "home/render.sh" if program.startswith("~") else tmp_path / "studio" / program
    text = f'runner = "command"\nargv = ["{program}"]'
    assert declare(text).not_offered == {"x": f"the program {whole} is not found"}
    script(whole, "true", 0o644)
    assert "may not be executed; `chmod +x` it" in declare(text).not_offered["x"]
    whole.chmod(0o755)
    assert declare(text).workflows[0].argv == (str(whole),)


def test_a_bare_program_stays_bare_unless_a_relative_folder_of_path_has_it(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert declare('runner = "command"\nargv = ["true"]').workflows[0].argv == ("true",)
    script(tmp_path / "elsewhere/bin/ours", "true")
    monkeypatch.setenv("PATH", "bin", prepend=os.pathsep)
    assert declare('runner = "command"\nargv = ["ours"]').workflows[0].argv == (str(tmp_path / "elsewhere/bin/ours"),)


def test_a_python_is_offered_by_its_path_as_it_stands(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "studio/venv").mkdir()
    (tmp_path / "studio/venv/python").symlink_to(sys.executable)  # a venv's is a link, which is not to be resolved
    [workflow] = declare(of_python("venv/python")).workflows
    assert workflow.python == str(tmp_path / "studio/venv/python")


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("echo python 3.8; echo found", "is Python 3.8; it must be 3.9 or later"),
        ("echo python 2.7; exit 1", "is Python 2.7; it must be 3.9 or later"),
        ("echo python 3.13; echo missing", "does not find the Python module json; install it there"),
        ("echo hello", "is no Python: asked for its version it said 'hello'"),
        ("exec sleep 600", "did not say its version within 0.2 s"),
    ],
)
def test_a_python_that_cannot_run_it_is_named_with_the_reason(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, why: str
) -> None:
    if "sleep" in says:
        monkeypatch.setattr(programs, "ANSWER_S", 0.2)
    python = script(tmp_path / "python", says)
    assert why in declare(of_python(python)).not_offered["x"]


def test_a_module_is_looked_for_in_the_python_that_is_named(declare: Declare) -> None:
    assert declare(of_python(sys.executable, "flask:Flask")).workflows
    assert "is the name of a package of Muster's" in declare(of_python(sys.executable, "app.jobs:run")).not_offered["x"]
    missing = declare(of_python(sys.executable, "no_such_module.deeper:run")).not_offered["x"]
    assert missing.startswith(f"{sys.executable} does not find the Python module no_such_module")
    assert "is not found" in declare(of_python("/no/such/python")).not_offered["x"]
