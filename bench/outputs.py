"""What it costs to keep what a command leaves: its outputs at the end, and a checkpoint of each frame on the way.

One workflow process as a guard starts it, with the bench in the guard's place: no pool around it. The first part is
timed from the command's last word to the end; the second from one checkpoint's report to the next.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from app.pool.model import Workflow
from bench.kit.figures import publish, spread
from tests.kit.workflow_scene import WorkflowScene

LEAVE = """
import sys
number, size = map(int, sys.argv[1:])
for at in range(number):
    with open(f"frame.{at:06d}.exr", "wb") as file:
        file.write(at.to_bytes(8, "big") + bytes(size - 8))
print("written", flush=True)
"""
SHORT_S = 600.0


def main() -> None:
    """Each part so many times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    _outputs(chosen.files, chosen.rounds)


def _outputs(files: int, rounds: int) -> None:
    sizes = {"100 B": 100, "100 KiB": 100 * 1024}
    rows = []
    for name, size in sizes.items():
        taken = spread([_saved_s(files, size) for _ in range(rounds)])
        rows.append([f"{files} of {name}", *taken.values(), 1000 * taken["p50"] / files])
    columns = ["s", "n", "min", "p50", "p99", "max", "ms a file"]
    publish("outputs", "From the command's last word to its end (target: at most 1 ms a small file)", columns, rows)


def _saved_s(files: int, size: int) -> float:
    with tempfile.TemporaryDirectory(prefix="muster-bench-", dir=Path.cwd()) as folder:
        workflow = Workflow("leave", "command", argv=("python3", "-c", LEAVE, str(files), str(size)))
        with WorkflowScene(Path(folder) / "a1", workflow, {}) as child:
            child.begin().until_printed("written", seconds=SHORT_S)
            began = time.perf_counter()
            end = child.end(SHORT_S)
            taken_s = time.perf_counter() - began
    assert len(end["outputs"]) == files, end
    return taken_s


if __name__ == "__main__":
    main()
