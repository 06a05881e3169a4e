"""burn: hold a CPU core or a GPU at a given use for some seconds, with a checkpoint a second; for trials."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable

from agent.context import Job, Stopped
from app.pool.errors import PoolError
from app.pool.model import Json, Parameter, Workflow
from app.pool.status import number

SLICE_S = 0.1  # within each, work first and rest then
MATRIX = 2048

Work = Callable[[], object]  # keeps a device busy for some milliseconds


def declaration() -> Workflow:
    """The workflow and its parameters; it runs everywhere."""
    return Workflow(
        name="burn",
        runner="python",
        target="agent.workflows.burn:run",
        help="Hold a CPU core or a GPU for a while, for trials",
        parameters=(
            Parameter("seconds", "float", default=10, min=0, max=604_800, help="for how long"),
            Parameter("use", "float", default=1, min=0, max=1, help="how much of it, from 0 to 1"),
            Parameter(
                "device", "choice", default="auto", choices=("auto", "cpu", "gpu"), help="gpu needs torch or cupy"
            ),
            Parameter("vram_mb", "int", min=0, help="GPU memory to hold"),
        ),
    )


def run(job: Job) -> Json:
    """Burn what is left of the seconds. Raises PoolError when there is no GPU and one was asked for, Stopped."""
    seconds, use = job.params["seconds"], job.params["use"]
    device, work = _device(job.params["device"], job.params["vram_mb"] or 0)
    done_s: float = job.resume.state["done_s"] if job.resume else 0
    while done_s < seconds:
        part_s = min(1.0, seconds - done_s)
        _burn(work, use, part_s)
        done_s += part_s
        job.progress(done_s / seconds, f"{done_s:.0f} of {number(seconds)} s on {device}")
        job.checkpoint({"done_s": done_s})
        if job.stopping:
            raise Stopped(f"stopped after {done_s:.0f} s")
    return {"device": device, "seconds": seconds}


def _burn(work: Work, use: float, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        rest = min(now + SLICE_S, end)
        busy = now + use * (rest - now)
        while time.monotonic() < busy:
            work()
        time.sleep(max(0.0, rest - time.monotonic()))


def _device(wanted: str, vram_mb: int) -> tuple[str, Work]:
    """The device in words, and its work. Raises PoolError."""
    for module, make in (("torch", _torch), ("cupy", _cupy)):
        work = make(vram_mb) if wanted != "cpu" and _importable(module) else None
        if work:
            return f"GPU ({module})", work
    if wanted == "gpu":
        raise PoolError("no GPU can be used: neither torch nor cupy finds one here")
    return "CPU", lambda: sum(range(10_000))


def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _torch(vram_mb: int) -> Work | None:
    cuda = importlib.import_module("torch")
    if not cuda.cuda.is_available():
        return None
    held = cuda.empty(vram_mb << 20, dtype=cuda.uint8, device="cuda")
    matrix = cuda.rand(MATRIX, MATRIX, device="cuda")
    return lambda: (held, matrix @ matrix, cuda.cuda.synchronize())


def _cupy(vram_mb: int) -> Work | None:
    cupy = importlib.import_module("cupy")
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:  # how it says that there is no driver
        devices = 0
    if not devices:
        return None
    held = cupy.empty(vram_mb << 20, dtype=cupy.uint8)
    matrix = cupy.random.rand(MATRIX, MATRIX, dtype=cupy.float32)
    return lambda: (held, matrix @ matrix, cupy.cuda.Device().synchronize())
