"""How soon what failed is tried again."""

from __future__ import annotations

import logging

import pytest

from app.pool.backoff import Backoff, Outage

PLAIN = Backoff(0.5, 30.0, least=1.0)


def test_pauses_double_up_to_the_most_and_never_overflow() -> None:
    assert [PLAIN.after(failures) for failures in (1, 2, 3, 6, 7, 10_000)] == [0.5, 1.0, 2.0, 16.0, 30.0, 30.0]


def test_jitter_shortens_a_pause_down_to_its_share() -> None:
    pauses = {Backoff(1.0, 1.0, least=0.8).after(1) for _ in range(100)}
    assert len(pauses) > 1 and all(0.8 <= pause <= 1.0 for pause in pauses)


def test_an_outage_is_logged_once_and_may_begin_with_a_try_at_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("test"), "away", "back")
    with caplog.at_level(logging.INFO):
        assert [outage.failed("why", PLAIN, at_once=True) for _ in range(3)] == [0.0, 0.5, 1.0]
        outage.over()
        outage.over()
    assert caplog.messages == ["away: why", "back"]
    assert outage.failed("again", PLAIN) == 0.5
