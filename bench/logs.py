"""What a talkative job costs everybody else: short jobs run on idle workers while others write much.

A whole pool as `up` starts it, driven by its public API alone. Each round first runs the short jobs by themselves, then
beside the talkative ones: how long the slowest of them took from its submission to its end, what the coordinator's
processor did, how fast the log came into the store, and by how much each kind of process grew.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.kit.figures import publish
from bench.kit.pool import Pool, cpu_s, descendants, memory_kib, pool
from tests.kit.processes import command_line

# In blocks of many lines, as fast as somebody reads.
TALK = (
    "import sys; n, s = map(int, sys.argv[1:]); b = ('y' * (s - 1) + chr(10)) * (65536 // s + 1); k = 65536 // s + 1; "
    "w = sys.stdout.write; [w(b) for _ in range(n // k)]; w(b[: n % k * s])"
)
WORKFLOWS = f"""
[workflows.talk]
runner = "command"
argv = ["python3", "-c", "{TALK}", "{{lines}}", "{{size}}"]
[workflows.talk.parameters.lines]
type = "int"
[workflows.talk.parameters.size]
type = "int"
[workflows.short]
runner = "command"
argv = ["true"]
"""
KINDS = {
    "web": "app web",
    "coordinator": "app coordinator",
    "agent": "-m agent ",
    "guard": "agent.slot.process",
    "SQL": "postgres",
    "Valkey": "valkey-server",
}
LOST = "does not lead"  # the coordinator's words
ARRIVE_S = 60.0  # for the last line to be in the store, after its job's end
LONG_S = 1800.0
PAUSE_S = 0.1  # between two short jobs


@dataclass
class Found:
    """What was seen in one part of a round."""

    waits_s: list[float] = field(default_factory=list)
    took_s: float = 0.0
    coordinator_s: float = 0.0  # of processor time
    grown_mib: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """Long lines, then short ones; one job that writes them, then several at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=400, help="of long lines, in each job")
    parser.add_argument("--lines", type=int, default=5_000_000, help="short ones, in each job")
    parser.add_argument("--jobs", type=int, default=20, help="talkative ones at once, in the second part")
    parser.add_argument("--short", type=int, default=100, help="short jobs, at least")
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args()
    kinds = {"lines of 4,000": (chosen.mb * 1_000_000 // 4_000, 4_000), "lines of 11": (chosen.lines, 11)}
    rows = [
        _row(name, jobs, *kind, chosen.short)
        for _ in range(chosen.rounds)
        for jobs in dict.fromkeys((1, chosen.jobs))
        for name, kind in kinds.items()
    ]
    columns = ["", "MB each", "slowest short, s", "alone, s", "terms lost", "coordinator", "MB/s", *KINDS]
    title = "Short jobs beside talkative ones (target: at most 1 s more, no term lost); on the right MiB that each grew"
    publish("logs", title, columns, rows)


def _row(name: str, jobs: int, lines: int, size: int, short: int) -> list[Any]:
    with _pool(jobs) as running:
        alone = Found()
        with _watched(running, alone):
            _run_short(running, alone, short)
        beside, talking = Found(), threading.Event()
        with _watched(running, beside):
            rate = _Talk(running, jobs, lines, size, talking)
            _run_short(running, beside, short, talking)
            rate.thread.join()
        lost = (running.home / "log" / "coordinator.log").read_text().count(LOST)
    share = beside.coordinator_s / beside.took_s - alone.coordinator_s / alone.took_s
    figures = [max(beside.waits_s), max(alone.waits_s), lost, f"{100 * share:.1f} %", rate.mb_s]
    return [f"{jobs} × {name}", lines * size / 1e6, *figures, *[beside.grown_mib.get(kind) for kind in KINDS]]


@contextlib.contextmanager
def _pool(jobs: int) -> Iterator[Pool]:
    """Three workers; one talkative job leaves two of them idle, of many each has its share and slots to spare."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        file = Path(folder) / "workflows.toml"
        file.write_text(WORKFLOWS)
        slots = str(1 if jobs == 1 else -(-jobs // 3) + 1)
        with pool("--workers", "3", environment={"MUSTER_WORKFLOWS": str(file), "MUSTER_SLOTS": slots}) as running:
            yield running


def _run_short(running: Pool, found: Found, least: int, beside: threading.Event | None = None) -> None:
    """Short jobs one after another, so many at least, and as long as there is something beside them."""
    while len(found.waits_s) < least or (beside and not beside.is_set()):
        began = time.monotonic()
        job = running.call("POST", "/jobs", {"workflow": "short"})
        running.await_job(job["id"], LONG_S)
        found.waits_s.append(time.monotonic() - began)
        time.sleep(PAUSE_S)


class _Talk:
    """Talkative jobs, awaited in a thread; `mb_s`: how fast their logs came in, None where an end never did."""

    def __init__(self, running: Pool, jobs: int, lines: int, size: int, over: threading.Event) -> None:
        self.mb_s: float | None = None
        self._pool, self._lines, self._mb = running, lines, jobs * lines * size / 1e6
        self._over = over
        self._began = time.monotonic()
        body = {"workflow": "talk", "params": {"lines": lines, "size": size}}
        self._jobs = [running.call("POST", "/jobs", body)["id"] for _ in range(jobs)]
        self.thread = threading.Thread(target=self._await, daemon=True)
        self.thread.start()

    def _await(self) -> None:
        try:
            for job in self._jobs:
                self._pool.await_job(job, LONG_S)
            if all(self._arrives(job) for job in self._jobs):
                self.mb_s = self._mb / (time.monotonic() - self._began)
        finally:
            self._over.set()

    def _arrives(self, job: str) -> bool:
        """True when the last line comes into the store in time."""
        end = time.monotonic() + ARRIVE_S
        while time.monotonic() < end:
            if self._pool.call("GET", f"/jobs/{job}/log?after={self._lines - 1}&limit=1")["items"]:
                return True
            time.sleep(0.1)
        return False


@contextlib.contextmanager
def _watched(running: Pool, found: Found) -> Iterator[None]:
    """Note the coordinator's processor time, and by how much the largest process of each kind grew."""
    coordinator, over = running.part(KINDS["coordinator"]), threading.Event()
    before, most = _sizes(running), dict[str, int]()

    def sample() -> None:
        while not over.wait(0.5):
            for kind, size in _sizes(running).items():
                most[kind] = max(most.get(kind, 0), size)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    began, spent = time.monotonic(), cpu_s(coordinator)
    yield
    found.took_s, found.coordinator_s = time.monotonic() - began, cpu_s(coordinator) - spent
    over.set()
    thread.join()
    found.grown_mib = {kind: (most.get(kind, size) - size) / 1024 for kind, size in before.items()}


def _sizes(running: Pool) -> dict[str, int]:
    """KiB of resident memory, of the largest process of each kind."""
    sizes: dict[str, int] = {}
    for pid in descendants(running.process.pid):
        words = command_line(pid) + " "
        for kind in (kind for kind, part in KINDS.items() if part in words):
            with contextlib.suppress(OSError):  # it has ended
                sizes[kind] = max(sizes.get(kind, 0), memory_kib(pid).get("Rss:", 0))
    return sizes


if __name__ == "__main__":
    main()
