"""The order of waiting jobs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from app.coordinator.order import STEP_S, in_order
from app.ledger.waiting import WaitingJob
from app.pool.model import Job, JobId, JobSpec, JobState, Requirement

SLOTS = {"burn": 1, "wide": 3}
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def waiting(
    name: str,
    owner: str = "ana",
    priority: int = 50,
    age_s: float = 10.0,
    class_name: str = "c",
    workflow: str = "burn",
) -> WaitingJob:
    spec = JobSpec(Requirement(workflow), owner=owner, priority=priority)
    created_at = NOON - timedelta(seconds=age_s)
    return WaitingJob(
        Job(JobId(name), spec, JobState.PENDING, 1, 0, None, None, 0, "", created_at), class_name, (), age_s
    )


def ordered(*heads: WaitingJob, held: dict[str, int] | None = None, unserved_s: float = 1e9) -> str:
    return " ".join(head.job.id for head in in_order(heads, held or {}, SLOTS.__getitem__, lambda _: unserved_s))


def test_priority_comes_first_then_age() -> None:
    assert ordered(waiting("young", age_s=1), waiting("old", age_s=9), waiting("high", priority=51, age_s=0)) == (
        "high old young"
    )


def test_within_a_priority_owners_take_turns_whatever_their_jobs_ages_and_classes() -> None:
    many = [waiting(f"a{n}", age_s=100 - n, class_name=f"c{n % 2}") for n in range(4)]
    assert ordered(*many, waiting("b0", "bob", age_s=2), waiting("b1", "bob", age_s=1)) == "a0 b0 a1 b1 a2 a3"


def test_who_holds_fewer_slots_comes_first() -> None:
    assert ordered(waiting("a"), waiting("b", "bob", age_s=1), held={"ana": 2, "bob": 1}) == "b a"
    some = [waiting(f"b{n}", "bob", age_s=1) for n in range(3)]
    assert ordered(waiting("a"), *some, held={"ana": 2}) == "b0 b1 a b2"


def test_a_job_of_several_slots_counts_as_so_many_turns() -> None:
    wide = [waiting(f"a{n}", age_s=100 - n, workflow="wide") for n in range(2)]
    small = [waiting(f"b{n}", "bob", age_s=9 - n) for n in range(4)]
    assert ordered(*wide, *small) == "a0 b0 b1 b2 a1 b3"


def test_a_queue_that_got_nothing_for_long_rises_so_that_none_starves() -> None:
    low = waiting("low", "bob", priority=40, age_s=11 * STEP_S)
    high = waiting("high", priority=50, age_s=1)
    assert ordered(low, high) == "low high"
    # One that has got something meanwhile has not waited so long, however old its next job is.
    assert ordered(low, high, unserved_s=STEP_S) == "high low"


def test_jobs_of_one_age_keep_one_order() -> None:
    assert ordered(waiting("b"), waiting("a"), waiting("c")) == "a b c"
