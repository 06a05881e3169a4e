"""How the house is named and parted, where no linter looks."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_MODULES = 25  # of one folder

# Classes and type aliases of one name, with the reason why both bear it.
TWICE = {
    "Job": "the pool's job, and agent.context.Job, which studios import by this name",
    "Tag": "one and the same text, checked by the codec in app.pool.protocol and by pydantic in app.web",
}

# A docstring that begins so says nothing without its neighbour's.
PRONOUN = re.compile(r"(Whether (it|they|one|there)|It|They|Those|This one|The same|Of (it|them|these|those))\b")

Documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_the_name_of_a_class_or_type_means_one_thing() -> None:
    defined = defaultdict(list)
    for path in _modules("app", "agent"):
        for name, line in _types(_parsed(path)):
            defined[name].append(f"{path}:{line}")
    assert {name: places for name, places in defined.items() if len(places) > 1 and name not in TWICE} == {}
    assert all(len(defined[name]) > 1 for name in TWICE), "an exception that is none"


def test_no_folder_is_a_corridor() -> None:
    folders = defaultdict(list)
    for path in _modules("app", "agent"):
        if path.name != "__init__.py":
            folders[str(path.parent)].append(path.name)
    assert {folder: len(names) for folder, names in folders.items() if len(names) > MOST_MODULES} == {}


def test_nobody_imports_a_conftest_or_a_test_module() -> None:
    imports = [f"{path}: {module}" for path in _modules("tests", "bench") for module in _imported(_parsed(path))]
    assert [line for line in imports if re.search(r": tests\..*\b(conftest|test_\w+)\b", line)] == []


def test_a_docstring_says_its_noun() -> None:
    found = [
        f"{path}: {words.splitlines()[0]}"
        for path in _modules("app", "agent", "bench", "tests/kit", "tests/chaos")
        for node in ast.walk(_parsed(path))
        if isinstance(node, Documented) and (words := ast.get_docstring(node)) and PRONOUN.match(words)
    ]
    assert found == []


def _types(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The name and line of each class, and of each type alias of the module: a name in CapWords that is assigned."""
    yield from ((node.name, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id[0].isupper() and not target.id.isupper():
            yield target.id, node.lineno


def _modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path.relative_to(ROOT) for path in sorted((ROOT / folder).rglob("*.py")))


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
