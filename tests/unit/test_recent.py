"""Values kept for a moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

from app.web.http.cache import Recent


def test_what_was_being_made_while_something_changed_is_forgotten_too() -> None:
    kept: Recent[str] = Recent(60)
    reading, changed = Event(), Event()

    def slow(_: str | None) -> str:
        reading.set()
        assert changed.wait(10)
        return "before"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get, slow)
        assert reading.wait(10)
        forgetting = pool.submit(kept.forget)
        wait([forgetting], 0.2)
        changed.set()
        assert first.result(10) == "before"
        forgetting.result(10)
    assert kept.get(lambda _: "after") == "after"
