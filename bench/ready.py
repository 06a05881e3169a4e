"""How long `up` takes until the page answers and its worker is healthy, and what each process holds at rest.

Counted from the start of the process, with dependencies installed; the first start makes the databases.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figures import publish, spread
from bench.pool import Pool, descendants, memory_kib, pool


def main() -> None:
    """Start and stop a pool so many times: on fresh homes, and again on one that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        first = [_ready_s(Path(folder) / f"home-{n}") for n in range(times)]
        again = [_ready_s(Path(folder) / "home-0") for _ in range(times)]
        with pool(home=Path(folder) / "home-0") as running:
            memory = list(_memory(running))
    rows = [[name, *spread(values).values()] for name, values in (("first start", first), ("later start", again))]
    publish("ready", "Seconds until ready", ["start", "n", "min", "p50", "p99", "max"], rows, {"memory": memory})
    publish("memory", "Memory of each process at rest", ["process", "PSS MiB", "RSS MiB"], memory)


def _ready_s(home: Path) -> float:
    with pool(home=home) as running:
        return running.ready_s


def _memory(running: Pool) -> Iterator[list[object]]:
    """Each process below `up`: proportional and resident memory in MiB."""
    for pid in sorted(descendants(running.process.pid)):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            held = memory_kib(pid)
        except (OSError, ValueError):
            continue  # it ended meanwhile
        yield [_name(command), held["Pss:"] / 1024, held["Rss:"] / 1024]


def _name(command: str) -> str:
    words = command.split()
    if "-m" in words:
        return " ".join(words[words.index("-m") + 1 :])[:60]
    return command[:60]


if __name__ == "__main__":
    main()
