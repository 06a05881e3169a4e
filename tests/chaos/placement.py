"""Invariants 5 and 6 of docs/architecture.md: who was given what, and whether anybody waited beside a free slot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from app.pool.live import Live
from app.pool.model import WorkerId
from app.pool.protocol import LeaseState
from tests.kit.pool_with_agents import BUSY_S, KEYS, TTL_S, PoolWithAgents

BACK_S = 1.0 + BUSY_S  # by then what has not started has left a worker that does not fit any more
WAIT_S = 1.0 + BUSY_S + TTL_S  # and a silent worker is seen to be one
FITS = "j.requires <@ {0}.tags AND (j.group_name IS NULL OR j.group_name = ANY ({0}.groups))"
# A job that was on a worker before may be kept from it; a strict one that was anywhere may wait for its deadline.
IDLE = f"""
    SELECT j.id AS job, j.attempt, w.id AS worker, w.slots
    FROM jobs j JOIN workers w ON {FITS.format("w")}
    WHERE j.state = 'pending' AND (j.not_before IS NULL OR j.not_before < now() - interval '1 s')
      AND w.status = 'healthy' AND NOT (j.strict AND j.attempt > 1)
      AND NOT EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.worker_id = w.id)
      AND NOT EXISTS (SELECT FROM worker_blocks b WHERE b.worker_id = w.id AND b.forgiven_at IS NULL)
"""
FULLER = """
    SELECT a.job_id, a.number, a.worker_id, (a.placement -> 'seen' ->> 'capacity')::integer AS capacity, (
        SELECT count(*) FROM attempts b
        WHERE b.worker_id = a.worker_id AND b.assigned_at <= a.assigned_at
          AND (b.ended_at IS NULL OR b.ended_at > a.assigned_at)) AS held
    FROM attempts a
"""
UNFIT = """
    SELECT a.job_id, a.number, a.worker_id, j.requires, j.group_name, a.placement -> 'seen' AS seen
    FROM attempts a JOIN jobs j ON j.id = a.job_id
    WHERE NOT (a.placement -> 'seen' -> 'tags' @> to_jsonb(j.requires)
               AND (j.group_name IS NULL OR a.placement -> 'seen' -> 'groups' ? j.group_name))
"""
# The setup that held so long before the start, and all since: none of them fits.
KEPT = f"""
    SELECT a.job_id, a.number, a.worker_id, a.started_at
    FROM attempts a JOIN jobs j ON j.id = a.job_id
    WHERE a.started_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM chaos_setups s
        WHERE s.worker_id = a.worker_id AND s.at <= a.started_at AND {FITS.format("s")}
          AND NOT EXISTS (SELECT FROM chaos_setups later WHERE later.worker_id = s.worker_id AND later.at > s.at
                          AND later.at <= a.started_at - interval '{BACK_S} s'))
"""


@dataclass
class Waits:
    """Looks, while the run goes on, for jobs that wait though a worker has a free slot for them."""

    site: PoolWithAgents
    now: Callable[[], float] = time.monotonic
    _since: dict[tuple[str, int, str], float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def look(self) -> Iterator[tuple[str, str]]:
        """(what, job) of those that have waited for too long by now, each told once."""
        now_s = self.now()
        seen = {(row["job"], row["attempt"], row["worker"]) for row in self._idle()}
        self._since = {each: self._since.get(each, now_s) for each in seen}
        for (job, attempt, worker), since_s in self._since.items():
            if now_s - since_s > WAIT_S and job not in self._told:
                self._told.add(job)
                yield f"6: a{attempt} waits for {now_s - since_s:.1f} s while {worker} has a free slot", job

    def _idle(self) -> list[dict[str, Any]]:
        rows = self.site.rows(IDLE)
        live = Live(self.site.redis(1), KEYS)
        held = {row["worker"]: _held(live, row["worker"]) for row in rows}
        return [row for row in rows if held[row["worker"]] < row["slots"]]


def assigned_what_does_not_fit(rows: Callable[[str], list[dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    """5: (what, job) of every assignment beyond the worker's room, or of what it did not match."""
    for row in rows(FULLER):
        if row["held"] > row["capacity"]:
            yield f"5: {row['worker_id']} held {row['held']} of {row['capacity']} with a{row['number']}", row["job_id"]
    for row in rows(UNFIT):
        yield f"5: a{row['number']} was assigned to {row['worker_id']}, which does not match: {row}", row["job_id"]
    for row in rows(KEPT):
        yield f"5: a{row['number']} began on {row['worker_id']} long after a re-tag: {row}", row["job_id"]


def _held(live: Live, worker: str) -> int:
    leases = live.leases(WorkerId(worker)).values()
    return sum(lease.slots for lease in leases if lease.state is not LeaseState.ENDED)
