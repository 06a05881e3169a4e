"""A person's walk through a real pool: submit a clip with the form, watch it, play what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.kit.browser import clip
from tests.kit.services import eventually
from tests.kit.whole_pool import WholePool

RUN_MS = 40_000
WALK_S = 4


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WholePool]:
    """A pool of one worker, started."""
    pool = WholePool(tmp_path / "home")
    pool.start()
    yield pool
    pool.stop()


@pytest.mark.timeout(150)
def test_a_clip_is_submitted_watched_and_played_in_the_page(pool: WholePool, tmp_path: Path, browser: Browser) -> None:
    eventually(pool.healthy_workers, 20)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda told: wrong.append(told.text) if told.type in ("error", "warning") else None)
    page.goto(pool.server)
    page.get_by_label("Token").fill(pool.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("tbody tr")).to_contain_text("healthy")

    page.get_by_role("link", name="Submit", exact=True).click()
    page.get_by_role("navigation", name="Workflows").get_by_role("link", name="transcode").click()
    page.get_by_label("or upload one").set_input_files(clip(tmp_path / "walk.mp4", WALK_S))
    page.get_by_label("Height").fill("120")
    page.get_by_role("button", name="Submit", exact=True).click()

    expect(page.locator(".lead .pill")).to_have_text("✓succeeded", timeout=RUN_MS)
    assert _plays(page) == (160, 120)
    expect(page.locator(".story")).to_contain_text("Finished")
    _ranges(page)

    page.get_by_role("link", name="Fleet").click()
    page.locator("tbody th a").click()
    expect(page.locator(".ran")).to_contain_text("transcode")
    page.get_by_role("link", name="Its queue").click()
    expect(page.get_by_text("w-").first).to_be_visible()
    context.close()
    assert not wrong, wrong


def _plays(page: Page) -> tuple[int, int]:
    """The size of the picture of the shown video, which plays: its time passes, and it can be wound forward."""
    video = page.locator("video.shown")
    video.evaluate("video => { video.muted = true; return video.play(); }")
    first = eventually(lambda: video.evaluate("video => video.currentTime"))
    eventually(lambda: video.evaluate("video => video.currentTime") > first)
    video.evaluate(f"video => {{ video.currentTime = {WALK_S - 1.5}; }}")
    eventually(lambda: video.evaluate("video => video.ended"), WALK_S)
    assert abs(video.evaluate("video => video.duration") - WALK_S) < 0.2
    assert not video.evaluate("video => video.error")
    return video.evaluate("video => video.videoWidth"), video.evaluate("video => video.videoHeight")


def _ranges(page: Page) -> None:
    """The browser is told what the file is and gets any part of it."""
    with page.expect_response(lambda answer: "/outputs/" in answer.url) as first:
        page.reload()
    assert (first.value.status, first.value.headers["content-type"]) == (206, "video/mp4")
    whole = int(first.value.headers["content-range"].rpartition("/")[2])
    part = page.evaluate(
        """async ([url, range]) => { const answer = await fetch(url, {headers: {Range: range}});
           return [answer.status, answer.headers.get("Content-Range"), (await answer.arrayBuffer()).byteLength]; }""",
        [first.value.url, f"bytes={whole - 10}-"],
    )
    assert part == [206, f"bytes {whole - 10}-{whole - 1}/{whole}", 10]
