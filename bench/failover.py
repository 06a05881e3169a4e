"""From a worker's fault to the first step of its job's next attempt: `python -m bench.failover [--interval 1]`.

A pool on hosts of its own (network namespaces: needs root); measured by CLOCK_BOOTTIME in the workflow
itself. Each fault is a piece whose figures are kept in build/bench/failover: a run that was interrupted
goes on with what is missing (`--again` measures anew), `--only WORDS` measures some, and the table is
made of all that is there. A whole run takes about 15 minutes; the computer should do nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.pool.policy import Policy
from bench.kit.faults import FAULTS, OLD_S, Fault
from bench.kit.figures import FOLDER, circumstances, publish
from bench.kit.rounds import Outcome, measure, stored
from tests.kit.hosts import missing, new_network
from tests.kit.pool_with_agents import PoolWithAgents, new_pool_with_agents
from tests.kit.services import Services

PIECES = FOLDER / "failover"
DEFAULT_S = Policy().heartbeat_interval_s
COLUMNS = ("fault", "n", "p50 s", "max s", "target p50 s", "steps in vain, most", "accepted twice", "overlap s, most")


def piece(fault: Fault, interval_s: float) -> Path:
    """Where this fault's figures are kept."""
    return PIECES / f"{interval_s:g}-{fault.slug}.json"


def run(site: PoolWithAgents, faults: list[Fault], times: int) -> int:
    """Measure these faults and keep each one's figures; returns how many could not be measured."""
    failed = 0
    PIECES.mkdir(parents=True, exist_ok=True)
    for fault in faults:
        began = time.monotonic()
        try:
            outcomes = measure(site, fault, times)
        except AssertionError as error:
            print(f"{fault.name}: {error}", file=sys.stderr, flush=True)
            failed += 1
            continue
        kept = {**circumstances(), "fault": fault.name, "outcomes": [asdict(each) for each in outcomes]}
        piece(fault, site.interval_s).write_text(json.dumps(kept, indent=1) + "\n")
        seconds = " ".join(f"{each.seconds:.2f}" for each in outcomes)
        print(f"{fault.name}: {seconds} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    return failed


def row(fault: Fault, outcomes: list[Outcome], interval_s: float) -> list[Any]:
    """As the table shows them."""
    seconds = [each.seconds for each in outcomes]
    return [
        fault.name,
        len(seconds),
        statistics.median(seconds),
        max(seconds),
        fault.targets[0 if interval_s >= DEFAULT_S else 1] if fault.targets else None,
        max(each.lost_steps for each in outcomes),
        sum(each.accepted > 1 for each in outcomes),
        max(each.overlap_s for each in outcomes),
    ]


def main() -> int:
    """Measure what is missing, print the table; 1 when a job was lost or cannot be measured here."""
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--interval", type=float, default=DEFAULT_S, help="of heartbeats, in seconds")
    parser.add_argument("--times", type=int, default=10, help="each fault")
    parser.add_argument("--only", default="", help="faults whose name has these words")
    parser.add_argument("--again", action="store_true", help="also what has been measured")
    asked = parser.parse_args()
    if why := missing():
        print(why, file=sys.stderr)
        return 1
    faults = [each for each in FAULTS if asked.only in each.name]
    left = [each for each in faults if asked.again or len(stored(piece(each, asked.interval))) < asked.times]
    failed = _measured(left, asked.times, asked.interval) if left else 0
    found = [(each, stored(piece(each, asked.interval))) for each in FAULTS]
    rows = [row(fault, outcomes, asked.interval) for fault, outcomes in found if outcomes]
    title = f"From the fault to the first step of the next attempt, a beat every {asked.interval:g} s"
    publish(f"failover-{asked.interval:g}", title, COLUMNS, rows, {"cut_or_frozen_beyond_s": OLD_S})
    return 1 if failed else 0


def _measured(faults: list[Fault], times: int, interval_s: float) -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-")))
        services = Services(folder)
        stack.callback(services.close)
        network = stack.enter_context(new_network())
        return run(
            stack.enter_context(new_pool_with_agents(folder / "site", services, network, interval_s)), faults, times
        )


if __name__ == "__main__":
    sys.exit(main())
