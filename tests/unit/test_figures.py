"""The figures of benches, by values that can be counted by hand."""

from __future__ import annotations

import pytest

from bench.balance import Span, least_makespan, spread_of
from bench.kit.figures import percentile


def test_a_percentile_is_the_value_of_the_nearest_rank() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert percentile(values, 0.0) == 1.0
    assert percentile(values, 0.2) == 1.0
    assert percentile(values, 0.21) == 2.0
    assert percentile(values, 0.5) == 3.0
    assert percentile(values, 1.0) == 5.0
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(("share", "rank"), [(0.5, 50), (0.99, 99), (0.999, 100)])
def test_of_a_hundred_values_a_share_is_a_rank(share: float, rank: int) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == rank


def test_of_many_values_every_share_is_its_own_rank() -> None:
    values = [float(n) for n in range(1, 1001)]
    assert [percentile(values, n / 1000) for n in range(1, 1001)] == values


def test_workers_that_are_always_busy_have_no_spread() -> None:
    spans = [Span("a", 0.0, 2.0), Span("a", 2.0, 4.0), Span("b", 0.0, 4.0), Span("b", 4.0, 6.0)]
    assert spread_of(spans, 2, 0.0) == 0.0


def test_spread_counts_from_warm_up_until_the_last_job_begins() -> None:
    spans = [Span("a", 0.0, 3.0), Span("b", 0.0, 1.0), Span("b", 5.0, 9.0)]
    assert spread_of(spans, 2, 1.0) == pytest.approx(2 / 4)  # a is busy for two of the seconds from 1 to 5, b for none


def test_a_worker_that_ran_nothing_is_the_least_used() -> None:
    spans = [Span("a", 0.0, 2.0), Span("a", 2.0, 4.0)]
    assert spread_of(spans, 2, 0.0) == 1.0


def test_no_makespan_is_shorter_than_the_longest_job_or_the_work_of_each_slot() -> None:
    assert least_makespan([3.0] * 8, 4) == 6.0
    assert least_makespan([9.0, 1.0, 1.0], 4) == 9.0
