"""The bounds of bench/false_alarms.py, by values that stand in tables."""

from __future__ import annotations

import pytest

from bench.kit.bounds import poisson_most, share_most


def test_bounds_of_a_count_are_those_of_the_tables() -> None:
    assert poisson_most(0) == pytest.approx(2.996, abs=0.001)  # the rule of three
    assert poisson_most(1) == pytest.approx(4.744, abs=0.001)
    assert poisson_most(10) == pytest.approx(16.962, abs=0.001)


def test_bounds_of_a_share_are_those_of_the_tables() -> None:
    assert share_most(0, 20) == pytest.approx(1 - 0.05 ** (1 / 20), abs=1e-6)
    assert share_most(1, 10) == pytest.approx(0.3942, abs=0.0001)
    assert share_most(5, 5) == 1.0
