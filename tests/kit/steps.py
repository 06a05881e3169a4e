"""Workflows for tests of the guard: each is called with the Job of a real workflow process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agent.context import Job, Stopped

# setsid, a second fork and no ear for SIGTERM; then it says who it is and stays.
ESCAPE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
with open(sys.argv[1] + ".new", "w") as file: file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True: time.sleep(60)
"""


def quick(job: Job) -> dict[str, Any]:
    """Say one of each and return the parameters."""
    job.log("one line")
    job.progress(0.5, "half")
    (job.output_dir / "out.txt").write_text("made")
    return dict(job.params)


def cards(job: Job) -> dict[str, Any]:
    """What it and a program that it starts may use."""
    told = subprocess.run(["printenv", "CUDA_VISIBLE_DEVICES"], capture_output=True, text=True, check=True)
    return {"gpus": list(job.gpus), "own": os.environ["CUDA_VISIBLE_DEVICES"], "program": told.stdout.strip()}


def marks(job: Job) -> None:
    """Leave a mark outside of the attempt's folder."""
    Path(str(job.params["mark"])).write_text(str(os.getpid()))


def broken(job: Job) -> None:
    """Fail by an error of its own."""
    raise ValueError("no such frame")


def shot(job: Job) -> None:
    """Die without a word."""
    job.log("about to die")
    os.kill(os.getpid(), signal.SIGKILL)


def stubborn(job: Job) -> None:
    """Leave an escapee, then run on, whatever is said."""
    mark = job.output_dir / "escapee"
    if job.params.get("mark") == "fork":  # a program that was not exec'd: /proc shows the slot's environment
        _fork_escapee(mark)
    else:
        bare: dict[str, str] | None = {} if job.params.get("mark") == "bare" else None  # names no attempt
        subprocess.run([sys.executable, "-c", ESCAPE, str(mark)], check=True, env=bare)
    while not mark.exists():
        time.sleep(0.01)
    job.log("somebody is going out")
    job.progress(0.1, mark.read_text())
    while True:
        time.sleep(60)


def _fork_escapee(mark: Path) -> None:
    pid = os.fork()
    if pid == 0:
        sys.argv[1:] = [str(mark)]
        exec(ESCAPE, {})
    os.waitpid(pid, 0)


def polite(job: Job) -> None:
    """Save the state and stop when asked to."""
    job.progress(0.1, "on it")
    while not job.stopping:
        time.sleep(0.01)
    job.checkpoint({"why": job.stopping})
    raise Stopped("as asked")


def saver(job: Job) -> None:
    """Leave a sparse file that takes an hour to hash, unless somebody cuts it; with a mark it is a checkpoint's."""
    big = job.output_dir / "big"
    with big.open("wb") as file:
        file.truncate(1 << 42)
    job.progress(0.5, "rendered")
    if job.params.get("mark"):
        job.checkpoint(1, [big])
        job.log("kept")
        time.sleep(3600)


def talkative(job: Job) -> None:
    """Log for ever."""
    while True:
        job.log("x" * 4000)


def silent(job: Job) -> None:
    """Say nothing for a long time."""
    time.sleep(3600)


def chatty(_: Job) -> None:
    """Say something, but not to the context; then hang."""
    for count in range(15):
        os.write(1, b"still here, %d\n" % count)
        time.sleep(0.1)
    time.sleep(3600)


def tags(job: Job) -> None:
    """Two tags more, and one of them less."""
    for tag in ("model:sdxl", "model:flux"):
        job.worker.add_tag(tag)
    job.worker.drop_tag("model:flux")


def hungry(job: Job) -> None:
    """Take more memory than the control group allows in which it puts itself."""
    Path(str(job.params["mark"]), "cgroup.procs").write_text(str(os.getpid()))
    eaten = bytearray()
    while True:
        eaten += b"x" * 1_000_000


def when(_: Job) -> float:
    """Nothing but the time of the first step."""
    return time.time()
