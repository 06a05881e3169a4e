"""A bell tells whoever waits on it whether it was asked to stop or something has died."""

from __future__ import annotations

from app.pool.loop import Bell, start_thread


def test_a_thread_that_dies_stops_the_bell_and_says_so() -> None:
    def die() -> None:
        raise OSError("no more")

    bell = Bell()
    start_thread("one", die, bell.fail).join(5)
    assert not bell.wait(5) and bell.failed


def test_a_bell_that_is_asked_to_stop_has_not_failed() -> None:
    bell = Bell()
    start_thread("one", lambda: None, bell.fail).join(5)
    assert bell.wait(0)
    bell.stop()
    assert not bell.wait(5) and not bell.failed
