"""PostgreSQL or Redis goes away under a running pool and comes back: pages say so, nothing is lost, nobody helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from app.ledger import investigations
from app.ledger.db import Ledger
from app.ledger.investigations import SuspectedCause
from app.pool.model import ENDED
from tests.kit.browser import sign_in
from tests.kit.services import Services, eventually
from tests.kit.whole_pool import WholePool

BACK_MS = 15_000
END_S = 60
SECONDS = 12  # of the job that runs meanwhile: longer than a store is away
# What the browser gets from each of these paths, asked for at once as a page that somebody opens.
OPENED = """paths => Promise.all(paths.map(async path => {
  const answer = await fetch(path, {headers: {Accept: "text/html"}});
  const whole = new DOMParser().parseFromString(await answer.text(), "text/html");
  return {path, status: answer.status, retry: answer.headers.get("Retry-After"), text: whole.body.innerText};
}))"""


@dataclass
class Studio:
    """A pool over stores that the test can end, an admin's page, and a job that runs."""

    services: Services
    pool: WholePool
    page: Page
    job: str
    worker: str
    investigation: str

    def opened(self, *paths: str) -> list[dict[str, Any]]:
        """What each path answers to somebody who opens it."""
        found: list[dict[str, Any]] = self.page.evaluate(OPENED, list(paths))
        return found

    def fill(self, name: str) -> None:
        """A job on the form, all but sent."""
        self.page.goto(f"{self.pool.server}/submit?workflow=burn")
        self.page.get_by_label("Seconds").fill("1")
        self.page.get_by_text("Name, priority, requirements").click()
        self.page.get_by_label("Name", exact=True).fill(name)

    def send(self) -> None:
        """Press the form's button."""
        self.page.get_by_role("button", name="Submit", exact=True).click()

    def ended(self, name: str) -> dict[str, Any]:
        """The one job of this name, once it has ended."""
        eventually(lambda: self._named(name)["state"] in ENDED, END_S)
        return self._named(name)

    def _named(self, name: str) -> dict[str, Any]:
        [job] = [each for each in self.pool.client.get("/jobs")["items"] if each["name"] == name]
        return dict(job)


@pytest.fixture
def studio(tmp_path: Path, browser: Browser) -> Iterator[Studio]:
    """Everything is there, and a job has begun."""
    services = Services(tmp_path)
    redis_url, database_url = services.redis("valkey"), services.new_database()
    pool = WholePool(tmp_path / "home")
    stores = {"DATABASE_URL": database_url, "REDIS_URL": f"{redis_url}/1", "RQ_REDIS_URL": f"{redis_url}/0"}
    context = browser.new_context()
    try:
        pool.environment |= stores
        pool.start("--workers", "1")
        page = context.new_page()
        page.goto(pool.server)
        sign_in(page, pool.token)
        [worker] = pool.healthy_workers()
        yield Studio(services, pool, page, _running(pool), worker["id"], _investigation(database_url, worker))
    finally:
        context.close()
        pool.stop()
        services.close()


def _running(pool: WholePool) -> str:
    body = {"workflow": "burn", "name": "meanwhile", "params": {"seconds": SECONDS, "use": 0.05}}
    job = str(pool.client.post("/jobs", body)["id"])
    eventually(lambda: pool.client.get(f"/jobs/{job}")["progress"] > 0, 20)
    return job


def _investigation(database_url: str, worker: dict[str, Any]) -> str:
    ledger = Ledger.connect(database_url, size=1)
    try:
        assert investigations.begin(
            ledger, worker["id"], worker["incarnation"], SuspectedCause.HOST_SILENT, {"why": "a test"}, 1.0
        )
        return investigations.open_of(ledger, [worker["id"]])[worker["id"]]
    finally:
        ledger.close()


@pytest.mark.timeout(150)
def test_without_postgresql_every_page_says_so_and_all_goes_on_when_it_is_back(studio: Studio) -> None:
    studio.fill("typed before")
    studio.services.end("postgresql")
    pages = (
        *("/", "/jobs", "/submit", "/notifications", "/settings", "/investigations", "/queues/"),
        *(f"/jobs/{studio.job}", f"/workers/{studio.worker}", f"/investigations/{studio.investigation}"),
    )
    for told in studio.opened(*pages):
        assert (told["status"], told["retry"]) == (503, "2"), told
        assert "PostgreSQL does not answer at the moment; nothing was lost" in told["text"], told
    studio.send()
    expect(studio.page.locator("main")).to_contain_text("PostgreSQL does not answer at the moment; nothing was lost")
    studio.services.again("postgresql")

    eventually(lambda: studio.opened("/submit")[0]["status"] == 200, BACK_MS / 1000)
    studio.page.go_back()
    expect(studio.page.get_by_label("Name", exact=True)).to_have_value("typed before")
    studio.send()
    expect(studio.page.locator(".lead .pill")).to_have_text("✓succeeded", timeout=END_S * 1000)
    assert studio.ended("typed before")["state"] == "succeeded"
    ran = studio.ended("meanwhile")
    assert (ran["state"], ran["attempt"]) == ("succeeded", 1)


@pytest.mark.timeout(150)
def test_without_redis_what_is_live_says_so_and_jobs_are_taken_all_the_same(studio: Studio) -> None:
    studio.fill("sent meanwhile")
    studio.services.end("valkey")
    eventually(lambda: studio.opened("/")[0]["status"] == 503)  # the fleet is kept for two seconds
    for told in studio.opened("/", f"/workers/{studio.worker}", "/queues/"):
        assert (told["status"], told["retry"]) == (503, "2"), told
        assert "Redis does not answer at the moment; nothing was lost" in told["text"], told
    # What stands in the ledger alone is shown as ever.
    stored = ("/jobs", "/notifications", "/settings", "/investigations", f"/jobs/{studio.job}", "/submit")
    assert {told["path"]: told["status"] for told in studio.opened(*stored)} == dict.fromkeys(stored, 200)
    studio.send()
    expect(studio.page.get_by_role("heading", name="sent meanwhile")).to_be_visible()
    studio.services.again("valkey")

    expect(studio.page.locator(".lead .pill")).to_have_text("✓succeeded", timeout=END_S * 1000)
    ran = studio.ended("meanwhile")
    assert (ran["state"], ran["attempt"]) == ("succeeded", 1)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("store", ["postgresql", "valkey"])
def test_a_page_that_stands_open_says_which_figures_are_old_and_recovers_by_itself(studio: Studio, store: str) -> None:
    page = studio.page
    page.goto(f"{studio.pool.server}/workers/{studio.worker}")
    expect(page.locator(".live")).to_contain_text("meanwhile")
    studio.services.end(store)
    expect(page.locator("#gone")).to_contain_text("The server cannot reach its database or Redis for", timeout=BACK_MS)
    assert "grayscale" in page.locator(".live").first.evaluate("part => getComputedStyle(part).filter")
    expect(page.locator(".live")).to_contain_text("meanwhile")
    studio.services.again(store)
    expect(page.locator("#gone")).to_be_hidden(timeout=BACK_MS)
    expect(page.locator(".ran")).to_contain_text("succeeded", timeout=END_S * 1000)
