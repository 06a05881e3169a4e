"""A person's walk through a real pool: submit a clip with the form, watch it, play what comes out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.pool import Pool
from tests.services import eventually

RUN_MS = 40_000


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """A pool of one worker, started."""
    pool = Pool(tmp_path / "home")
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Four seconds of a test picture with a tone."""
    path = tmp_path / "walk.mp4"
    sources = ("testsrc2=size=320x240:rate=25:duration=4", "sine=frequency=440:duration=4")
    inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
    subprocess.run(["ffmpeg", "-loglevel", "error", *inputs, "-preset", "ultrafast", str(path)], check=True)
    return path


@pytest.mark.timeout(150)
def test_a_clip_is_submitted_watched_and_played_in_the_page(pool: Pool, clip: Path, browser: Browser) -> None:
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
    page.get_by_label("or upload one").set_input_files(clip)
    page.get_by_label("Height").fill("120")
    page.get_by_role("button", name="Submit", exact=True).click()

    expect(page.locator(".lead .pill")).to_have_text("✓succeeded", timeout=RUN_MS)
    video = page.locator("video.shown")
    video.evaluate("video => { video.muted = true; return video.play(); }")
    assert eventually(lambda: video.evaluate("video => video.currentTime > 0.2 && video.videoHeight"), 15) == 120
    expect(page.locator(".story")).to_contain_text("Finished")

    page.get_by_role("link", name="Fleet").click()
    page.locator("tbody th a").click()
    expect(page.locator(".ran")).to_contain_text("transcode")
    page.get_by_role("link", name="Its queue").click()
    expect(page.get_by_text("w-").first).to_be_visible()
    context.close()
    assert not wrong, wrong
