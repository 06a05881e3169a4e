"""What a workflow's own Python imports of the agent runs on Python 3.9, where nothing is installed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent import ROOT

IMPORTED = """
import json, sys
sys.path.insert(0, sys.argv[1])
import agent.runners.other_python, agent.runners.__main__, agent.runners.interpreter
print(json.dumps({name: getattr(module, "__file__", None) for name, module in sys.modules.items()}))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, str | None]:
    """The files of all modules that a Python without site-packages imports to run a workflow, by name."""
    argv = [sys.executable, "-I", "-S", "-c", IMPORTED, str(ROOT)]
    found: dict[str, str | None] = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    return found


@pytest.fixture
def ours(imported: dict[str, str | None]) -> list[Path]:
    return [Path(str(file)) for name, file in imported.items() if name.partition(".")[0] in ("agent", "app")]


def test_it_imports_the_standard_library_and_our_own_code_alone(imported: dict[str, str | None]) -> None:
    tops = {name.partition(".")[0] for name in imported} - {"__main__"}
    assert tops - set(sys.stdlib_module_names) == {"agent", "app"}
    assert "agent.context" in imported and "agent.attempt" not in imported


def test_nothing_of_it_is_newer_than_python_3_9(ours: list[Path]) -> None:
    vermin = Path(sys.executable).with_name("vermin")
    argv = [str(vermin), "--target=3.9-", "--no-tips", "--violations", "--processes=1", *map(str, ours)]
    looked = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert looked.returncode == 0, looked.stdout


def test_its_annotations_are_not_evaluated(ours: list[Path]) -> None:
    for file in ours:
        tree = ast.parse(file.read_text(), feature_version=(3, 9))
        annotated = any(isinstance(node, (ast.AnnAssign, ast.FunctionDef)) for node in ast.walk(tree))
        future = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
        assert future or not annotated, f"{file} needs `from __future__ import annotations`"
