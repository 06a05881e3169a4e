"""`python -m tests.chaos`: a chaos run of any length; its seed makes the same faults in the same order again."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.driver import Driver
from tests.chaos.invariants import Evidence, report, violations
from tests.kit.hosts import missing, new_network
from tests.kit.pool_with_agents import new_pool_with_agents
from tests.kit.services import Services


def chaos(folder: Path, services: Services, seed: int, seconds: float, say: Callable[[str], None]) -> list[str]:
    """Run it; every violation with the history around it."""
    with new_network() as network, new_pool_with_agents(folder, services, network) as site:
        run = Driver(site, seed, say).run(seconds)
        found = Evidence(run, site)
        return [report(each, found) for each in violations(found)]


def main() -> int:
    """0 when all invariants held."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--seconds", type=float, default=600)
    asked = parser.parse_args()
    if why := missing():
        print(why, file=sys.stderr)
        return 1
    print(f"seed {asked.seed}, {asked.seconds:g} s; again: make chaos SEED={asked.seed} SECONDS={asked.seconds:g}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-chaos-")))
        services = Services(folder)
        stack.callback(services.close)
        problems = chaos(folder / "site", services, asked.seed, asked.seconds, print)
    print("\n\n".join(problems) or "all invariants held")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
