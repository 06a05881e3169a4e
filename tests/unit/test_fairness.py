"""The order of waiting jobs."""

from __future__ import annotations

from app.coordinator.placement.fairness import STEP_S, in_order, last_read
from app.ledger.waiting import WaitingJob
from tests.kit.waiting_jobs import waiting


def slots_of(job: WaitingJob) -> int:
    return 3 if job.class_name == "wide" else 1


def ordered(*heads: WaitingJob, held: dict[str, int] | None = None, unserved_s: float = 1e9) -> str:
    return " ".join(job.id for job in in_order(heads, held or {}, slots_of, lambda _: unserved_s).certain)


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
    wide = [waiting(f"a{n}", age_s=100 - n, class_name="wide") for n in range(2)]
    small = [waiting(f"b{n}", "bob", age_s=9 - n) for n in range(4)]
    assert ordered(*wide, *small) == "a0 b0 b1 b2 a1 b3"


def sure(*heads: WaitingJob, each: int, held: dict[str, int] | None = None) -> str:
    """Those of them, of each queue so many, that come before any that was not read."""
    order = in_order(heads, held or {}, slots_of, lambda _: 1e9, last_read(heads, each))
    assert {*order.certain, *order.uncertain} == {*heads}
    return " ".join(job.id for job in order.certain)


def test_what_was_not_read_of_a_high_priority_comes_before_what_was_read_of_a_low_one() -> None:
    high, low = waiting("high", priority=90), waiting("low", "bob", priority=10)
    assert sure(high, low, each=1) == "high"
    assert sure(high, low, each=2) == "high low"


def test_what_was_not_read_of_an_owner_with_few_slots_comes_before_what_was_read_of_another() -> None:
    some = waiting("a"), waiting("b", "bob", age_s=1)
    assert sure(*some, each=1) == "a b"  # then it is ana's turn, with what was not read
    assert sure(*some, each=1, held={"ana": 5}) == "b"
    assert sure(*some, waiting("c", "cy", age_s=0.5), each=1, held={"cy": 1}) == "a b"


def test_of_one_owner_what_was_read_comes_first_and_then_nobody_else() -> None:
    mine = waiting("x", age_s=9), waiting("y", age_s=1, class_name="d")
    assert sure(*mine, waiting("b", "bob"), each=1, held={"bob": 3}) == "x y"


def test_a_queue_that_is_served_says_nothing_of_another_class_of_the_same_owner() -> None:
    low = waiting("low", "bob", priority=40, age_s=11 * STEP_S)
    served = waiting("served", "bob", priority=40, age_s=11 * STEP_S, class_name="d")
    high = waiting("high", priority=50, age_s=1)
    order = in_order([low, served, high], {}, slots_of, lambda queue: 1e9 if queue.class_name == "c" else 0.0)
    assert [job.id for job in order.certain] == ["low", "high", "served"]


def test_a_queue_that_got_nothing_for_long_rises_so_that_none_starves() -> None:
    low = waiting("low", "bob", priority=40, age_s=11 * STEP_S)
    high = waiting("high", priority=50, age_s=1)
    assert ordered(low, high) == "low high"
    # One that has got something meanwhile has not waited so long, however old its next job is.
    assert ordered(low, high, unserved_s=STEP_S) == "high low"


def test_jobs_of_one_age_keep_one_order() -> None:
    assert ordered(waiting("b"), waiting("a"), waiting("c")) == "a b c"
