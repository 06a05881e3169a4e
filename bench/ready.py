"""How long `up` takes until it says that it is ready, and what each process holds at rest.

Counted from the start of the process, with dependencies installed: on fresh homes, whose first start
makes the databases, and on one that is there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.kit.figures import publish, spread
from bench.kit.pool import Pool, descendants, memory_kib, pool
from tests.kit.processes import command_line

REST_S = 20  # beats, samples and a sweep have been, so that what is made late is there


def main() -> None:
    """Start and stop a pool so many times on fresh homes, and as often again on one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        first = [_ready_s(Path(folder) / f"home-{n}") for n in range(times)]
        again = [_ready_s(Path(folder) / "home-0") for _ in range(times)]
        with pool(home=Path(folder) / "home-0") as running:
            time.sleep(REST_S)
            memory = sorted(_memory(running), key=lambda row: -row[1])
    rows = [[name, *spread(values).values()] for name, values in (("first start", first), ("later start", again))]
    publish("ready", "Seconds until ready (target: 15)", ["start", "n", "min", "p50", "p99", "max"], rows)
    total: tuple[str, float, float] = ("all", sum(row[1] for row in memory), sum(row[2] for row in memory))
    publish("memory", "Memory of each process at rest", ["process", "PSS MiB", "RSS MiB"], [*memory, total])


def _ready_s(home: Path) -> float:
    with pool(home=home) as running:
        return running.ready_s


def _memory(running: Pool) -> Iterator[tuple[str, float, float]]:
    """Each process of the pool, `up` first: its name, proportional and resident memory in MiB."""
    for pid in sorted(descendants(running.process.pid)):
        try:
            command, held = command_line(pid), memory_kib(pid)
        except (OSError, ValueError):
            continue  # it ended meanwhile
        yield _name(command), held["Pss:"] / 1024, held["Rss:"] / 1024


def _name(command: str) -> str:
    """`app web`, `agent.beat.process`, `postgres: checkpointer`, `valkey-server`."""
    first, *words = command.split()
    if "-m" in words:
        module, *rest = words[words.index("-m") + 1 :]
        return f"{module} {rest[0]}" if module == "app" else module
    return command if first.endswith(":") else Path(first).name


if __name__ == "__main__":
    main()
