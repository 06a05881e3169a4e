"""The programs and Python interpreters that workflows name: where they lie on this host, and whether they run here.

A bare program is looked for in PATH. A path may begin with ~, and a relative one begins at the folder of
workflows.toml, since a job runs in its output folder.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from agent.workflows import NotOffered
from app.pool.model import Workflow
from app.pool.settings import without_secrets

OLDEST = (3, 9)  # Python of a workflow
ANSWER_S = 10.0  # for an interpreter to say its version, from a slow disk too

# Also an old Python can read this; and no module is imported, its top package is only looked for.
_QUESTION = """
import sys
sys.stdout.write("python %d.%d\\n" % sys.version_info[:2])
sys.stdout.flush()
from importlib.util import find_spec
sys.stdout.write("found\\n" if find_spec(sys.argv[1]) else "missing\\n")
"""


def located(workflow: Workflow, folder: Path) -> Workflow:
    """The workflow with whole paths of its program and interpreter; links are not resolved, a venv's is one."""
    argv = (_located(str(workflow.argv[0]), folder), *workflow.argv[1:]) if workflow.argv else ()
    return replace(workflow, argv=argv, python=_located(workflow.python, folder))


def check(workflow: Workflow) -> None:
    """Raise NotOffered when this host lacks what the workflow runs."""
    if workflow.runner == "command":
        _check_program(str(workflow.argv[0]))
        return
    # The top package only: looking deeper would execute it.
    package = workflow.target.partition(":")[0].partition(".")[0]
    if package in ("agent", "app") and not workflow.target.startswith("agent.workflows."):
        raise NotOffered(f"{package} is the name of a package of Muster's; give the module's package another one")
    if workflow.python:
        _check_python(workflow.python, package)
    elif importlib.util.find_spec(package) is None:
        raise NotOffered(f"the Python module {package} is not found; PYTHONPATH names where to look")


def _located(program: str, folder: Path) -> str:
    if program.startswith("~"):
        program = os.path.expanduser(program)  # noqa: PTH111 - pathlib's raises where there is no such user
    if "/" not in program and program:
        found = shutil.which(program)
        # Found through a relative folder of PATH, which a job in its output folder would look for in vain.
        return os.path.abspath(found) if found and not os.path.isabs(found) else program  # noqa: PTH117
    return str(folder.absolute() / program) if program else ""


def _check_program(program: str) -> None:
    if shutil.which(program):
        return
    if Path(program).is_file():
        raise NotOffered(f"the program {program} may not be executed; `chmod +x` it")
    raise NotOffered(f"the program {program} is not found")


def _check_python(python: str, package: str) -> None:
    _check_program(python)
    said = _answer(python, package)
    version = re.search(r"^python (\d+)\.(\d+)$", said, re.MULTILINE)
    if version is None:
        raise NotOffered(f"{python} is no Python: asked for its version it said {said.strip()[-200:]!r}")
    if (int(version[1]), int(version[2])) < OLDEST:
        raise NotOffered(f"{python} is Python {version[1]}.{version[2]}; it must be {OLDEST[0]}.{OLDEST[1]} or later")
    if not re.search(r"^found$", said, re.MULTILINE):
        raise NotOffered(f"{python} does not find the Python module {package}; install it there or set PYTHONPATH")


def _answer(python: str, package: str) -> str:
    environment = {name: value for name, value in without_secrets(os.environ).items() if name != "PYTHONHOME"}
    try:
        answer = subprocess.run(
            [python, "-c", _QUESTION, package],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=ANSWER_S,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotOffered(f"{python} did not say its version within {ANSWER_S:g} s") from None
    except OSError as error:
        raise NotOffered(f"{python} cannot be started: {error}") from error
    return answer.stdout
