"""A workflow that writes down each step it takes, with the host's CLOCK_BOOTTIME, and keeps a checkpoint after each.

Its history is the evidence against the pool: who worked on which attempt when.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agent.context import Job, Stopped
from agent.processes import ancestors, boottime_ns
from tests.kit.processes import command_line
from tests.kit.steps import ESCAPE

WORKFLOWS = """
[workflows.steps]
runner = "python"
target = "tests.kit.recorded_steps:run"
parameters.history = { required = true }
parameters.steps = { type = "int", required = true }
parameters.step_s = { type = "float", required = true }
parameters.escapes = { type = "bool", default = false }
parameters.kills = { type = "bool", default = false }
parameters.until = {}
"""


def run(job: Job) -> dict[str, Any]:
    """Params: history, steps, step_s; `escapes`: leave a child that nobody can ask to end; `kills`: its agent, in its
    first step; `until`: that many steps at most, the last when this file exists."""
    first = job.resume.state["step"] if job.resume else 0
    steps, history = int(job.params["steps"]), str(job.params["history"])
    for step in range(first, steps):
        if job.params.get("until") and Path(str(job.params["until"])).exists():
            break
        job.progress(step / steps)  # looks at the deadline
        _write(history, step, "begin")
        if job.params.get("escapes") and step == first:
            _let_escape(job)
        if job.params.get("kills"):
            _kill_agent()
        time.sleep(float(job.params["step_s"]))
        _write(history, step, "end")
        job.checkpoint({"step": step + 1})
        if job.stopping:
            raise Stopped("as asked")
    return {"from": first, "steps": steps}


def _let_escape(job: Job) -> None:
    subprocess.run([sys.executable, "-c", ESCAPE, str(job.output_dir / "escapee")], check=True)


def _kill_agent() -> None:
    mains = [pid for pid in ancestors(os.getpid()) if command_line(pid).endswith(" -m agent")]
    os.kill(mains[0], signal.SIGKILL)


def _write(history: str, step: int, what: str) -> None:
    line = {
        "job": os.environ["MUSTER_JOB"],
        "attempt": int(os.environ["MUSTER_ATTEMPT"]),
        "worker": os.environ["MUSTER_WORKER"],
        "step": step,
        "what": what,
        "at": boottime_ns(),
    }
    # One write to a file opened for appending: lines of many processes never mix.
    file = os.open(Path(history), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)
