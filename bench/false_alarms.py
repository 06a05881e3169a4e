"""How often a healthy worker is doubted: `python -m bench.false_alarms`.

Real agents, niced like their jobs, each with a job that would take a core for itself, so that every core
has many to serve; and apart from them simulated ones, which only beat and do not listen. Nobody touches
any of them: every degraded or down is a false alarm. Beats are counted by their own numbers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.coordinator.stores import Stores
from app.pool.live import Live
from app.pool.model import WorkerId
from app.pool.policy import Policy
from bench.kit.bounds import poisson_most, share_most
from bench.kit.figures import publish
from tests.kit.peer import Peer
from tests.kit.pool_with_agents import KEYS, PoolWithAgents, new_pool_with_agents
from tests.kit.services import Services, eventually

NICE = ("nice", "-n", "10")  # agents and, as their children, all that their jobs are
START_S = 300
BUSY_LEAST = 0.95  # of all cores' time; with less, the figures would tell of a quieter computer
BEATS_LEAST = 0.95  # of those that were due
COLUMNS = (
    *("workers", "n", "seconds", "beats", "markings", "per worker-hour", "at most (95 %)"),
    *("workers marked", "share at most", "share of beats at most"),
)


@dataclass(frozen=True)
class Kind:
    """Workers of which nobody is touched, by their ids."""

    name: str
    ids: tuple[WorkerId, ...]


def watch(site: PoolWithAgents, agents: int, simulated: int, seconds: float) -> list[list[Any]]:
    """Start them all, let the time pass, count. Fails when the computer or the agents were not as busy as said."""
    stores = Stores(site.ledger, site.redis(1), site.redis(0), KEYS)
    real = Kind("real agents, busy", _busy_agents(site, agents))
    peers = [Peer(stores, site.ledger, f"simulated-{n}", site.interval_s) for n in range(simulated)]
    for peer in peers:
        peer.beat()
    kinds = [kind for kind in (real, Kind("simulated", tuple(peer.id for peer in peers))) if kind.ids]
    _beat(peers, 2 * site.interval_s, site.interval_s)  # their starts are not what is measured
    first = _newest_transition(site)
    before, began, spent = [_beats(stores.live, kind) for kind in kinds], time.monotonic(), _busy_s()
    _beat(peers, seconds, site.interval_s)
    took_s = time.monotonic() - began
    busy = (_busy_s()[0] - spent[0]) / (_busy_s()[1] - spent[1])
    assert busy >= BUSY_LEAST, f"the cores were busy for {busy:.0%} of the time only"
    counts = [_beats(stores.live, kind) - count for kind, count in zip(kinds, before)]
    return [_row(site, kind, took_s, count, first) for kind, count in zip(kinds, counts)]


def _busy_agents(site: PoolWithAgents, agents: int) -> tuple[WorkerId, ...]:
    """So many agents, each with a job that burns a core for longer than we look."""
    site.before = NICE
    for _ in range(agents):
        site.starting(MUSTER_WORKFLOWS="")
    for agent in site.agents:
        agent.healthy(START_S)
    for _ in range(agents):
        site.pool.client.post("/jobs", {"workflow": "burn", "params": {"seconds": 86_400, "device": "cpu"}})
    query = {"state": "running"}
    eventually(lambda: len(list(site.pool.client.pages("/jobs", query))) == agents, START_S)
    return tuple(worker["id"] for worker in site.pool.client.pages("/admin/workers"))


def _beat(peers: Sequence[Peer], seconds: float, interval_s: float) -> None:
    """Let the time pass, and the simulated ones beat in turn, each once in 0.95 of an interval."""
    end = time.monotonic() + seconds
    due = time.monotonic()
    while due < end:
        for peer in peers:
            due += 0.95 * interval_s / len(peers)
            time.sleep(max(0.0, due - time.monotonic()))
            peer.beat()
        if not peers:
            due = end
            time.sleep(seconds)


def _beats(live: Live, kind: Kind) -> int:
    """How many they have sent so far. Fails when one has stopped."""
    found = live.look(kind.ids).beats
    assert found.keys() == set(kind.ids), f"no beat of {set(kind.ids) - found.keys()}"
    return sum(beat.seq for beat in found.values())


def _busy_s() -> tuple[float, float]:
    """What the cores have done since boot, and all their time, in ticks."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _newest_transition(site: PoolWithAgents) -> int:
    return int(site.rows("SELECT coalesce(max(id), 0) AS id FROM worker_transitions")[0]["id"])


def _row(site: PoolWithAgents, kind: Kind, seconds: float, beats: int, after: int) -> list[Any]:
    due = len(kind.ids) * seconds / site.interval_s
    assert beats >= BEATS_LEAST * due, f"{kind.name} sent {beats} beats, {due:.0f} were due"
    found = site.rows(
        f"SELECT worker_id FROM worker_transitions WHERE id > {after} AND to_health IN ('degraded', 'down')"
    )
    marks = [row["worker_id"] for row in found if row["worker_id"] in kind.ids]
    hours, workers, marked = len(kind.ids) * seconds / 3600, len(kind.ids), len(set(marks))
    most = poisson_most(len(marks))
    return [
        *(kind.name, workers, seconds, beats, len(marks), len(marks) / hours, most / hours),
        *(marked, share_most(marked, workers), most / beats),
    ]


def main() -> int:
    """Print the table; 1 when anybody was marked."""
    parser = argparse.ArgumentParser(prog="python -m bench.false_alarms", description=__doc__)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--simulated", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--interval", type=float, default=Policy().heartbeat_interval_s)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-")))
        services = Services(folder)
        stack.callback(services.close)
        site = stack.enter_context(new_pool_with_agents(folder / "site", services, None, asked.interval))
        rows = watch(site, asked.agents, asked.simulated, asked.seconds)
    title = f"Healthy workers that were doubted, every core busy, a beat every {asked.interval:g} s"
    publish(f"false_alarms-{asked.interval:g}", title, COLUMNS, rows)
    return 1 if any(row[4] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
