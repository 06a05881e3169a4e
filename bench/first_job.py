"""From submitting to the first step on an idle worker: HTTP POST /jobs beside RQ's enqueue, taken in turns.

Both run the same no-op; the pool's figure holds a durable commit, the placement and the accepted
claim. The bench's own connections are new for each submission over HTTP and kept for RQ. Stages are heard
beside further jobs, as hearing them takes processor time that plain RQ's jobs do not share.
"""

from __future__ import annotations

import argparse
import statistics
import time

from bench.kit.figures import publish, spread
from bench.kit.marks import Mark, Marks, marked_pool
from bench.kit.plain import Plain, plain_rq
from bench.kit.pool import Pool
from bench.kit.trail import STAGES, Trail

WARM_UP = 5
PAUSE_S = 0.05  # beyond idle: the slot is back in its queue
COLUMNS = ["ms", "n", "min", "p50", "p99", "max"]


def main() -> None:
    """So many jobs each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--staged", type=int, default=60)
    chosen = parser.parse_args()
    with (
        marked_pool(1) as (pool, told, environment),
        plain_rq(pool.redis_url(0), 1, environment) as (plain, _),
    ):
        _measure(pool, plain, told, chosen.jobs)
        _stages(pool, told, chosen.staged)


def _measure(pool: Pool, plain: Plain, told: Marks, jobs: int) -> None:
    ours: list[float] = []
    theirs: list[float] = []
    answers: list[float] = []
    process: list[float] = []
    for number in range(WARM_UP + jobs):
        theirs.append(_plain_s(plain, told, f"plain-{number}"))
        submitted_s, answered_s, _, mark = _ours(pool, told)
        ours.append(mark.at_s - submitted_s)
        answers.append(answered_s - submitted_s)
        process.append(mark.at_s - mark.began_s)
        time.sleep(PAUSE_S)
    for each in (ours, theirs, answers, process):
        del each[:WARM_UP]
    _publish(ours, theirs, answers, process)


def _stages(pool: Pool, told: Marks, jobs: int) -> None:
    trail = Trail(pool)
    found = []
    for _ in range(jobs):
        submitted_s, _, job, mark = _ours(pool, told)
        if (stages := trail.stages_of(job, submitted_s, mark)) is not None:
            found.append(stages)
        trail.forget()
        time.sleep(PAUSE_S)
    trail.close()
    _publish_stages(found)


def _plain_s(plain: Plain, told: Marks, name: str) -> float:
    began = time.monotonic()
    plain.enqueue(name)
    at_s = told.of(name).at_s
    plain.await_idle(1)
    time.sleep(PAUSE_S)
    return at_s - began


def _ours(pool: Pool, told: Marks) -> tuple[float, float, str, Mark]:
    """One job, until the worker is idle again: when it was submitted and answered, and its first step."""
    began = time.monotonic()
    job = pool.call("POST", "/jobs", {"workflow": "noop"})["id"]
    answered = time.monotonic()
    mark = told.of(job)
    pool.await_job(job)
    pool.await_idle()
    return began, answered, job, mark


def _publish(ours: list[float], theirs: list[float], answers: list[float], process: list[float]) -> None:
    named = {"Muster": ours, "plain RQ": theirs, "answer to POST": answers, "workflow's process": process}
    rows = [[name, *_ms(values).values()] for name, values in named.items()]
    muster, plain = spread(ours), spread(theirs)
    rows.append(["ratio", None, None, muster["p50"] / plain["p50"], muster["p99"] / plain["p99"], None])
    publish("first_job", "Submit to first step, idle worker (target: ratio at most 2)", COLUMNS, rows)


def _publish_stages(stages: list[list[float]]) -> None:
    whole = statistics.fmean(sum(each) for each in stages)
    parts = [
        [stage, *_ms(values).values(), statistics.fmean(values) / whole * 100]
        for stage, values in zip(STAGES, zip(*stages, strict=True), strict=True)
    ]
    publish("first_job_stages", "Where one job's time goes", [*COLUMNS, "% of the mean"], parts)


def _ms(values: list[float] | tuple[float, ...]) -> dict[str, float]:
    found = spread([1000 * value for value in values])
    return {**found, "n": len(values)}


if __name__ == "__main__":
    main()
