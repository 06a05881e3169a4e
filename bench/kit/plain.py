"""Plain RQ beside the pool: its own workers on its own queue, on the very server and database that the pool uses.

`python -m bench.kit.plain` is one worker as RQ ships it, with its JSON serializer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from redis import Redis
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer

QUEUE = "bench-plain"
URL = "BENCH_REDIS_URL"
IDLE_S = 60


class Plain:
    """Enqueues no-ops and waits until the workers are idle again."""

    def __init__(self, url: str) -> None:
        self.redis = Redis.from_url(url)
        self.queue = Queue(QUEUE, connection=self.redis, serializer=JSONSerializer)

    def enqueue(self, name: str) -> Job:
        """One no-op under this name."""
        return self.queue.enqueue("bench.kit.noop.plain", name, job_id=name)

    def await_idle(self, workers: int) -> None:
        """Until so many workers wait for a job. Raises TimeoutError."""
        end = time.monotonic() + IDLE_S
        while sum(state == "idle" for state in self._states()) < workers:
            if time.monotonic() > end:
                raise TimeoutError("the plain RQ workers are not idle")
            time.sleep(0.02)

    def _states(self) -> list[str]:
        return [worker.get_state() for worker in Worker.all(queue=self.queue, serializer=JSONSerializer)]


@contextmanager
def plain_rq(url: str, workers: int, environment: Mapping[str, str]) -> Iterator[tuple[Plain, list[int]]]:
    """So many idle workers, and their process ids; they are gone afterwards."""
    argv = [sys.executable, "-m", "bench.kit.plain"]
    told = {**os.environ, **environment, URL: url}
    processes = [
        subprocess.Popen(argv, env=told, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) for _ in range(workers)
    ]
    try:
        plain = Plain(url)
        plain.await_idle(workers)
        yield plain, [process.pid for process in processes]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def main() -> None:
    """Work until SIGTERM."""
    connection = Redis.from_url(os.environ[URL])
    Worker([QUEUE], connection=connection, serializer=JSONSerializer).work()


if __name__ == "__main__":
    main()
