"""A person's browser on a served application, and what it finds wrong with the looks of a page."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, Response, ViewportSize

from app.pool.settings import ServerSettings
from tests.kit.seed import Seed

DESK = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
AXE = next(Path(__file__).parents[1].joinpath("browser").glob("axe-*.min.js")).read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

# Elements whose text is cut off and whose whole stands nowhere, and boxes that stick out of the page.
CUT = """() => [...document.querySelectorAll('main *')].filter(e =>
  getComputedStyle(e).textOverflow === 'ellipsis' && e.scrollWidth > e.clientWidth + 1
  && !(e.closest('[title]') && e.closest('[title]').title.includes(e.textContent.trim().slice(0, 40))))
  .map(e => e.outerHTML.slice(0, 120))"""
WIDE = """() => document.documentElement.scrollWidth > innerWidth
  ? [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3)
    .map(e => e.outerHTML.slice(0, 120)).concat('the page is ' + document.documentElement.scrollWidth) : []"""
TABLE = """() => [...document.querySelectorAll('.scroller')].filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => e.className + ' is ' + e.scrollWidth + ' wide in ' + e.clientWidth)"""
# Cells whose contents reach over the next cell.
OVER = """() => [...document.querySelectorAll('tbody :is(td, th) > *:not(.unseen)')].filter(e => {
  const cell = e.parentElement.getBoundingClientRect(), box = e.getBoundingClientRect();
  return box.width && (box.right > cell.right + 1 || box.bottom > cell.bottom + 1); })
  .map(e => e.outerHTML.slice(0, 120))"""


@dataclass(frozen=True)
class ServedWeb:
    """A served application, its stores, and people's tokens."""

    url: str
    seed: Seed
    settings: ServerSettings
    admin: str
    creator: str
    stop: Callable[[], None]


@dataclass(frozen=True)
class Visitor:
    """A person's browser on a site; `wrong` collects console errors, CSP violations and failed requests."""

    page: Page
    context: BrowserContext
    site: ServedWeb
    wrong: list[str]

    def visit(self, path: str) -> Page:
        """Go there."""
        self.page.goto(f"{self.site.url}{path}")
        return self.page

    def log_in(self, token: str) -> Page:
        """Sign in by the form."""
        self.visit("/login?next=/notifications")  # not the fleet, which the server keeps for two seconds
        sign_in(self.page, token)
        return self.page


def sign_in(page: Page, token: str) -> None:
    """Fill the form of the login page that is shown."""
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("navigation", name="Pages").wait_for()


def polled(page: Page, status: int) -> Response:
    """The next answer to a poll with this status."""
    with page.expect_response(lambda r: "/ui/" in r.url and r.status == status) as answer:
        pass
    return answer.value


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong."""
    page.evaluate(AXE)
    found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)["violations"]
    return [f"{each['id']}: {node['html'][:160]} {node['failureSummary']}" for each in found for node in each["nodes"]]


def looks(page: Page) -> list[str]:
    """Whatever sticks out, overlaps or is cut off."""
    return [*page.evaluate(CUT), *page.evaluate(WIDE), *page.evaluate(TABLE), *page.evaluate(OVER)]


def clip(path: Path, seconds: int = 30) -> Path:
    """A file of so many seconds of a test picture with a tone."""
    sources = (f"testsrc2=size=320x240:rate=25:duration={seconds}", f"sine=frequency=440:duration={seconds}")
    inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
    subprocess.run(["ffmpeg", "-loglevel", "error", *inputs, "-preset", "ultrafast", str(path)], check=True)
    return path
