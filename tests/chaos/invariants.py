"""The invariants of docs/architecture.md that a chaos run can check, from its histories, the ledger and Redis.

Numbers are those of the list there. Each check yields sentences; none means that it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.pool.keys import queue
from app.pool.model import ENDED, Health
from tests.chaos.driver import Run
from tests.chaos.faults import Fault
from tests.chaos.placement import assigned_what_does_not_fit
from tests.kit.history import Moment, S, attempts, by_job, read
from tests.kit.moves import HEALTH_MOVES
from tests.kit.pool_with_agents import KEYS, PoolWithAgents
from tests.kit.services import eventually

THAW_S = 1.0  # invariant 4, of a host that was frozen
AROUND_S = 6.0  # of the history that is printed with a violation


@dataclass(frozen=True)
class Violation:
    """What does not hold, of which job, and when (CLOCK_BOOTTIME in ns) where that is known."""

    what: str
    job: str | None = None
    at: int | None = None


class Evidence:
    """All that is known when the last job has ended."""

    def __init__(self, run: Run, site: PoolWithAgents) -> None:
        self.run = run
        self.rows = site.rows
        self.of_job = by_job(read(site.history))
        self.redis, self.rq = site.redis(1), site.redis(0)

    def frozen(self, worker: str) -> list[Fault]:
        """When all of this worker stood still."""
        return [each for each in self.run.faults if each.whole and each.worker == worker]


def violations(found: Evidence) -> list[Violation]:
    """Everything that does not hold."""
    checks = (_ends_once, _one_result, _resumes_from_the_newest, _strict, _fits, _transitions, _left_over)
    return [Violation(what, job) for what, job in found.run.problems] + [
        each for check in checks for each in check(found)
    ]


def report(violation: Violation, found: Evidence) -> str:
    """The violation and the history around it."""
    lines = [f"VIOLATION: {violation.what}"]
    moments = found.of_job.get(violation.job or "", [])
    at = violation.at or (moments[-1].at if moments else None)
    if violation.job:
        lines += [f"  attempt {row}" for row in found.rows(f"SELECT * FROM attempts WHERE job_id = '{violation.job}'")]
    if at is not None:
        told = [(each.at, str(each)) for each in moments] + [(each.at, str(each)) for each in found.run.faults]
        lines += [f"  {text}" for when, text in sorted(told) if abs(when - at) < AROUND_S * S]
    return "\n".join(lines)


def _ends_once(found: Evidence) -> Iterator[Violation]:
    """1: every accepted job has ended, failed only where the pool says that it is poison."""
    states = {row["id"]: row for row in found.rows("SELECT id, state, error FROM jobs")}
    for job in found.run.jobs:
        row = states.get(job)
        if row is None:
            yield Violation(f"1: job {job} is lost", job)
        elif row["state"] not in ENDED:
            yield Violation(f"1: job {job} has not ended, it is {row['state']}", job)
        elif row["state"] != "succeeded" and "workers" not in (row["error"] or ""):
            yield Violation(f"1: job {job} is {row['state']}: {row['error']}", job)


def _one_result(found: Evidence) -> Iterator[Violation]:
    """2: one result, of the one attempt that succeeded; every step was taken."""
    rows = found.rows(
        "SELECT j.id, j.params, r.attempt, count(a.number) AS winners, max(a.number) AS winner FROM jobs j"
        " LEFT JOIN results r ON r.job_id = j.id"
        " LEFT JOIN attempts a ON a.job_id = j.id AND a.end_word = 'succeeded'"
        " WHERE j.state = 'succeeded' GROUP BY j.id, r.attempt"
    )
    for row in rows:
        if (row["winners"], row["winner"]) != (1, row["attempt"]):
            yield Violation(f"2: job {row['id']} has {row['winners']} successes, result of {row['attempt']}", row["id"])
        taken = {each.step for each in found.of_job.get(row["id"], []) if each.what == "end"}
        if taken != set(range(row["params"]["steps"])):
            yield Violation(f"2: job {row['id']} succeeded with steps {sorted(taken)}", row["id"])


def _resumes_from_the_newest(found: Evidence) -> Iterator[Violation]:
    """3: nothing of an old attempt is kept after its end; a new one begins where the newest kept one says."""
    late = found.rows(
        "SELECT c.job_id, c.attempt, c.number FROM checkpoints c JOIN attempts a"
        " ON a.job_id = c.job_id AND a.number = c.attempt WHERE c.at > a.ended_at"
    )
    for row in late:
        yield Violation(f"3: checkpoint {row['number']} of attempt {row['attempt']} was kept late", row["job_id"])
    kept: dict[str, list[tuple[int, int, int]]] = {}
    for row in found.rows("SELECT job_id, attempt, number, state FROM checkpoints ORDER BY attempt, number"):
        kept.setdefault(row["job_id"], []).append((row["attempt"], row["number"], row["state"]["step"]))
    for job, moments in found.of_job.items():
        for attempt, steps in attempts(moments).items():
            newest = max((each for each in kept.get(job, []) if each[0] < attempt), default=(0, 0, 0))
            if steps[0].step != newest[2]:
                what = f"3: attempt {attempt} of {job} began at step {steps[0].step}, the newest kept is {newest}"
                yield Violation(what, job, steps[0].at)


def _strict(found: Evidence) -> Iterator[Violation]:
    """4: no step of an old attempt begins beside a new one, but within a second of a whole host's thaw."""
    for job, strict in found.run.jobs.items():
        of_attempt = attempts(found.of_job.get(job, [])) if strict else {}
        for old in of_attempt:
            newer = [steps[0].at for number, steps in of_attempt.items() if number > old]
            for moment in of_attempt[old]:
                if moment.what == "begin" and newer and moment.at > min(newer) and not _thawed(found, moment):
                    yield Violation(f"4: {moment}, after a newer attempt had begun", job, moment.at)


def _thawed(found: Evidence, moment: Moment) -> bool:
    ends = [each.undone_at for each in found.frozen(moment.worker) if each.undone_at]
    return any(end <= moment.at <= end + THAW_S * S for end in ends)


def _fits(found: Evidence) -> Iterator[Violation]:
    """5: a worker is given only what it matches at that moment, and never more than it has room for."""
    for what, job in assigned_what_does_not_fit(found.rows):
        yield Violation(what, job)


def _transitions(found: Evidence) -> Iterator[Violation]:
    """8: each change of health stands there once, from what it was, with its cause, and is one that there is."""
    last: dict[str, str] = {}
    for row in found.rows("SELECT * FROM worker_transitions ORDER BY id"):
        worker = row["worker_id"]
        if row["from_health"] != last.get(worker) or not row["cause"] or not _is_legal(row):
            yield Violation(f"8: of {worker}, after {last.get(worker)}: {row}")
        last[worker] = row["to_health"]


def _is_legal(row: dict[str, Any]) -> bool:
    before, after = row["from_health"], Health(row["to_health"])
    if before is None or before == after:
        return bool(row["cause"].startswith("join"))
    return after in HEALTH_MOVES[Health(before)]


def _left_over(found: Evidence) -> Iterator[Violation]:
    """10: nothing is left; the last leases go with the next beats."""
    for name, look in (("lease", _leases), ("envelope", _envelopes), ("eligible", _eligible), ("transaction", _open)):
        try:
            eventually(partial(_nothing, look, found), 15)
        except AssertionError:
            yield Violation(f"10: left over: {name} {look(found)}")


def _nothing(look: Callable[[Evidence], list[Any]], found: Evidence) -> bool:
    return not look(found)


def _leases(found: Evidence) -> list[Any]:
    return [(key, found.redis.hgetall(key)) for key in found.redis.scan_iter("pool:lease:*")]


def _envelopes(found: Evidence) -> list[Any]:
    queues = [f"rq:queue:{queue(row['id'])}" for row in found.rows("SELECT id FROM workers")]
    lists = [name for each in queues for name in (each, f"{each}:intermediate")]
    return [(name, found.rq.lrange(name, 0, -1)) for name in lists if found.rq.llen(name)]


def _eligible(found: Evidence) -> list[Any]:
    known = {row["id"] for row in found.rows("SELECT id FROM workers WHERE health = 'healthy'")}
    sets = [*found.redis.scan_iter("pool:eligible:*"), KEYS.load]
    return [(name, worker) for name in sets for worker in found.redis.zrange(name, 0, -1) if worker not in known]


def _open(found: Evidence) -> list[Any]:
    query = "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tr%'"
    return found.rows(query)
