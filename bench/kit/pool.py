"""A whole pool of its own for a bench: `python -m app up` on a fresh home and a free port, ended afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from agent import processes
from app.pool.keys import Keys
from app.pool.model import ENDED
from app.up.processes import free_port
from tests.kit.processes import command_line, started
from tests.kit.whole_pool import clean

START_S = 90
END_S = 12  # `up` ends within 10
READY = "Muster is ready"


@dataclass(frozen=True)
class Pool:
    """A running pool."""

    home: Path
    server: str
    process: subprocess.Popen[bytes]
    ready_s: float

    @property
    def redis_server(self) -> str:
        """The URL of the embedded Valkey, without a database."""
        return (self.home / "valkey" / "url").read_text().strip()

    def redis_url(self, database: int) -> str:
        """One of its databases: RQ is in 0, the pool in 1."""
        return f"{self.redis_server}/{database}"

    @property
    def database_url(self) -> str:
        """The embedded PostgreSQL."""
        return f"postgresql://postgres@/postgres?host={self.home / 'postgresql'}"

    def part(self, words: str) -> int:
        """The pid of the oldest of its processes whose command line has these words."""
        return min((pid for pid in descendants(self.process.pid) if words in command_line(pid)), key=started)

    def await_idle(self, seconds: float = 60) -> None:
        """Until no lease is held: the last attempt is over for all that took part. Raises TimeoutError."""
        with Redis.from_url(self.redis_url(1), decode_responses=True) as redis:
            end = time.monotonic() + seconds
            while any(_holds(redis.hvals(key)) for key in redis.keys("pool:lease:*")):
                if time.monotonic() > end:
                    raise TimeoutError(f"the pool is not idle after {seconds} s")
                time.sleep(0.02)

    def ring(self, message: str) -> None:
        """Tell the coordinator what to look at, as web does."""
        with Redis.from_url(self.redis_url(1)) as client:
            client.publish(Keys("pool:").bell, message)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer of an admin's call. Raises urllib.error.HTTPError."""
        token = (self.home / "admin-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def await_job(self, job: str, seconds: float = 60) -> Any:
        """The job once it has ended. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.call("GET", f"/jobs/{job}")
            if found["state"] in ENDED:
                return found
            time.sleep(0.02)
        raise TimeoutError(f"job {job} has not ended after {seconds} s")


NOOP = """
[workflows.noop]
runner = "python"
target = "bench.kit.noop:run"
"""


@contextmanager
def noop_pool(slots: int, folder: Path, environment: Mapping[str, str]) -> Iterator[Pool]:
    """A pool of one worker with so many slots, which offers bench/kit/noop.py's function as a workflow."""
    workflows = folder / "workflows.toml"
    workflows.write_text(NOOP)
    told = {**environment, "MUSTER_WORKFLOWS": str(workflows), "MUSTER_SLOTS": str(slots)}
    with pool("--workers", "1", environment=told) as running:
        yield running


@contextmanager
def pool(*arguments: str, environment: Mapping[str, str] | None = None, home: Path | None = None) -> Iterator[Pool]:
    """A pool that is ready; it and all its processes are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        home = home or Path(folder) / "home"
        port = free_port()
        # A host of its home's own: no other pool of this computer has its workers' identity.
        told = {**clean(os.environ), "MUSTER_HOST_ID": str(home), **(environment or {})}
        said = Path(folder) / "up.log"
        started = time.monotonic()
        with said.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "up", "--home", str(home), "--port", str(port), *arguments],
                env=told,
                stdout=output,
                stderr=output,
            )
        try:
            _await_ready(process, said)
            yield Pool(home, f"http://127.0.0.1:{port}", process, time.monotonic() - started)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(END_S)


def descendants(root: int) -> set[int]:
    """This process and all living ones below it."""
    return {root, *processes.descendants(root)}


def cpu_s(pid: int) -> float:
    """Of all its threads, in the scheduler's nanoseconds: a tick is too coarse for what is idle."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def memory_kib(pid: int) -> dict[str, int]:
    """What /proc/<pid>/smaps_rollup says: `Pss:`, `Rss:` and more. Raises OSError when the process is gone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(kib) for name, kib, _ in map(str.split, lines)}


def _await_ready(process: subprocess.Popen[bytes], said: Path) -> None:
    """Until `up` says so: /readyz is 200 and its workers are healthy. Who asked as well would slow it."""
    end = time.monotonic() + START_S
    while READY not in (told := said.read_text()):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("the pool did not start:\n" + told[-4000:])
        time.sleep(0.01)


def _holds(leases: list[str]) -> bool:
    return any(json.loads(lease)["state"] != "ended" for lease in leases)
