"""What it costs to keep what a command leaves: its outputs at the end, and a checkpoint of each frame on the way.

One workflow process as a guard starts it, with the bench in the guard's place: no pool around it. The first part is
timed from the command's last word to the end; the second from the beginning of a frame to its checkpoint's report.
"""

from __future__ import annotations

import argparse
import json
import os
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
FRAMES = """
import sys
paces = open(sys.argv[2], "rb", buffering=0)
for at in range(int(sys.argv[1])):
    paces.read(1)
    with open(f"f_{at:06d}.png", "wb") as file:
        file.write(at.to_bytes(8, "big") + bytes(100 * 1024))
    print('::checkpoint {"frame": %d}' % at, flush=True)
"""
SHORT_S = 600.0


def main() -> None:
    """Each part so many times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--checkpoints", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    _outputs(chosen.files, chosen.rounds)
    _checkpoints(chosen.checkpoints)


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


def _checkpoints(frames: int) -> None:
    """A range of frames that grows, each begun when the one before is kept: the first and the last hundred."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-", dir=Path.cwd()) as folder:
        pace = Path(folder) / "pace"
        os.mkfifo(pace)
        workflow = Workflow("frames", "command", argv=("python3", "-c", FRAMES, str(frames), str(pace)))
        with WorkflowScene(Path(folder) / "a1", workflow, {}) as child:
            child.begin()
            taken, bytes_told = [], []
            with pace.open("wb", buffering=0) as paces:
                for _ in range(frames):
                    began = time.perf_counter()
                    paces.write(b".")
                    told = child.until("checkpoint", SHORT_S)
                    taken.append(1000 * (time.perf_counter() - began))
                    bytes_told.append(len(json.dumps(told)))
                child.end(SHORT_S)
    parts = {"first 100": slice(0, 100), "last 100": slice(-100, None), "all": slice(None)}
    rows = [[name, *spread(taken[part]).values(), max(bytes_told[part])] for name, part in parts.items()]
    columns = ["ms", "n", "min", "p50", "p99", "max", "bytes of a report"]
    publish(
        "checkpoints", "From a frame of 100 KiB to the report of its checkpoint, in a range that grows", columns, rows
    )


if __name__ == "__main__":
    main()
