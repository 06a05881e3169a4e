"""The workflow's process in a Python that the workflow names, started by this file's path.

All that is imported here needs Python 3.9 and the standard library alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(fd: int, folder: str) -> None:
    """Run one attempt in the output folder, with nothing of the agent's Python but the code that runs workflows."""
    here = Path(__file__).parent
    sys.path.insert(0, str(here.parent.parent))
    from agent.processes import become
    from agent.runners import interpreter
    from agent.runners.__main__ import NAME
    from agent.runners.__main__ import main as run_workflow

    # Last, where processes that the workflow spawns find it too: what lies beside it may be packages of another Python.
    sys.path.append(sys.path.pop(0))
    if str(here) in sys.path:
        sys.path.remove(str(here))
        # The agent's current folder first, as `python -m` has it.
        sys.path[:0] = [] if Path.cwd().samefile(sys.path[-1]) else [str(Path.cwd())]
    os.chdir(folder)
    interpreter.own_streams()
    become(NAME)
    run_workflow(fd)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
