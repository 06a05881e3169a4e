"""A job's log in a browser: it follows its end, keeps what is read in place, finds, copies, and stays light."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from app.pool.model import Job, Worker
from tests.kit.actors import tell
from tests.kit.browser import DESK, PHONE, Visitor, looks, violations
from tests.kit.logs import write_log, write_many

E = "\x1b"
AT_END = (
    "() => { const b = document.getElementById('log-box'); return b.scrollHeight - b.scrollTop - b.clientHeight < 3; }"
)
TOP_LINE = """() => { const box = document.getElementById('log-box'), top = box.getBoundingClientRect().top;
  return [...box.querySelectorAll('.row')].find(row => row.getBoundingClientRect().bottom > top + 20).id; }"""


@pytest.fixture
def worker(admin: Visitor) -> Worker:
    """A worker."""
    return admin.site.seed.worker("render-01")


@pytest.fixture
def job(admin: Visitor, worker: Worker) -> Job:
    """A job that runs there."""
    seed = admin.site.seed
    return seed.run(seed.job("Opening reel"), worker)


def say(admin: Visitor, job: Job, *lines: str | tuple[str, str]) -> None:
    write_log(admin.site.seed.ledger, job, lines)


def scroll_up(page: Page, pixels: int) -> None:
    """Turn the wheel over the log."""
    page.locator("#log-box").hover()
    page.mouse.wheel(0, -pixels)
    expect(page.get_by_label("Follow")).not_to_be_checked()


def test_the_log_follows_its_end_and_only_new_lines_are_added(admin: Visitor, job: Job, worker: Worker) -> None:
    say(admin, job, *(f"frame {n}" for n in range(1, 60)))
    page = admin.visit(f"/jobs/{job.id}")
    page.evaluate("document.getElementById('line-1-1').dataset.mine = 'yes'")
    assert page.evaluate(AT_END)
    for n in (60, 61):
        say(admin, job, f"frame {n}")
        expect(page.locator("#log")).to_contain_text(f"frame {n}")
    assert page.evaluate(AT_END)
    # Neither its own polls nor those of the rest of the page have drawn what was there anew.
    admin.site.seed.report(job, worker, "progress", number=1, fraction=0.5)
    expect(page.locator(".lead")).to_contain_text("50 %")
    expect(page.locator("[data-mine]")).to_have_count(1)
    expect(page.locator("#log .row")).to_have_count(61)
    write_log(admin.site.seed.ledger, job, closed=True)
    expect(page.locator("#log-end")).to_have_text("End of the log.")
    expect(page.locator("#log-end[hx-get]")).to_have_count(0)


def test_who_has_scrolled_up_reads_on_in_peace_until_they_come_back(admin: Visitor, job: Job) -> None:
    say(admin, job, *(f"frame {n}" for n in range(1, 200)))
    page = admin.visit(f"/jobs/{job.id}")
    scroll_up(page, 1200)
    seen = page.evaluate(TOP_LINE)
    say(admin, job, *(f"more {n}" for n in range(50)))
    expect(page.locator("#log")).to_contain_text("more 49")
    assert page.evaluate(TOP_LINE) == seen
    page.get_by_label("Follow").check()
    assert page.evaluate(AT_END)
    say(admin, job, "the newest")
    expect(page.get_by_text("the newest")).to_be_in_viewport()


def test_a_bar_is_one_line_with_its_newest_state(admin: Visitor, job: Job) -> None:
    say(admin, job, "begin", ("E", "10 %|#   |"), ("E", "20 %|##  |"))
    page = admin.visit(f"/jobs/{job.id}")
    expect(page.locator("#log-bar-e")).to_contain_text("20 %|##  |")
    expect(page.locator("#log")).not_to_contain_text("10 %|#   |")
    say(admin, job, ("E", "30 %|### |"), "a line of the other stream")
    expect(page.locator("#log-bar-e")).to_contain_text("30 %|### |")
    say(admin, job, ("e", "100 %|####| done"))
    expect(page.locator("#log-lines")).to_contain_text("100 %|####| done")
    expect(page.locator("#log-bar-e .row")).to_have_count(0)
    expect(page.locator("#log .row")).to_have_count(3)


def test_colours_are_shown_and_escapes_never(admin: Visitor, job: Job) -> None:
    say(admin, job, f"{E}]0;title\x07{E}[1;31mred{E}[0m {E}[2K<b>plain</b>", ("e", "to standard error"))
    page = admin.visit(f"/jobs/{job.id}")
    assert page.locator("#line-1-1 .text").inner_text() == "red <b>plain</b>"
    ground = page.locator("#line-1-1 .text").evaluate("e => getComputedStyle(e).color")
    assert page.locator("#line-1-1 .colour-1.bold").evaluate("e => getComputedStyle(e).color") != ground
    expect(page.locator("#line-1-2 .from")).to_have_text("err")  # not by its colour alone


def test_wrap_and_times_are_switched(admin: Visitor, job: Job) -> None:
    say(admin, job, "x" * 1000)
    page = admin.visit(f"/jobs/{job.id}")
    wide = "() => { const b = document.getElementById('log-box'); return b.scrollWidth > b.clientWidth; }"
    assert not page.evaluate(wide)
    page.get_by_label("Wrap").uncheck()
    assert page.evaluate(wide)
    expect(page.locator("#line-1-1 time")).to_be_visible()
    page.get_by_label("Times").uncheck()
    expect(page.locator("#line-1-1 time")).to_be_hidden()


def test_the_log_is_copied_as_plain_text(admin: Visitor, job: Job) -> None:
    admin.context.grant_permissions(["clipboard-read", "clipboard-write"])
    say(admin, job, f"{E}[31mred{E}[0m <b>", ("e", "two"), ("O", "50 %"))
    page = admin.visit(f"/jobs/{job.id}")
    page.get_by_label("Times").uncheck()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#log-told")).to_have_text("Copied 3 lines.")
    assert page.evaluate("navigator.clipboard.readText()") == "red <b>\ntwo\n50 %"
    # By plain HTTP from another host a browser has no clipboard for pages.
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.evaluate("document.addEventListener('copy', () => window.copied = document.activeElement.value)")
    page.get_by_label("Times").check()
    page.get_by_role("button", name="Copy").click()
    page.wait_for_function("() => window.copied && window.copied.endsWith('50 %')")
    assert page.evaluate("window.copied").splitlines()[1].endswith(" two")


def test_a_million_lines_are_searched_and_walked_through_in_a_window_of_them(admin: Visitor, job: Job) -> None:
    write_many(admin.site.seed.ledger, job, 1_000_000, lines=(17, 500_000, 999_999))
    page = admin.visit(f"/jobs/{job.id}")
    expect(page.locator("#log")).to_contain_text("line 1000000 of the log")
    page.get_by_label("Search the log").fill("NEEDLE")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#log-found")).to_have_text("3 lines with “NEEDLE”.", timeout=60_000)
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#line-1-17.hit")).to_be_in_viewport()
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#line-1-500000.hit")).to_be_in_viewport()
    # From there on to later lines and back to earlier ones: those that are far are dropped.
    for step in range(12):
        last = page.locator("#log .row").last.get_attribute("id")
        page.locator("#log .later").last.scroll_into_view_if_needed()
        page.wait_for_function("id => [...document.querySelectorAll('#log .row')].at(-1).id !== id", arg=last)
        assert page.locator("#log .row").count() <= 3000, step
    for step in range(9):
        first = page.locator("#log .row").first.get_attribute("id")
        page.locator("#log .earlier").first.scroll_into_view_if_needed()
        page.wait_for_function("id => document.querySelector('#log .row').id !== id", arg=first)
        assert page.locator("#log .row").count() <= 3000, step
    expect(page.get_by_label("Follow")).not_to_be_checked()
    page.get_by_label("Follow").check()
    expect(page.get_by_text("line 1000000 of the log")).to_be_in_viewport()
    assert page.locator("#log .row").count() <= 3000


def test_a_burst_shows_its_end_and_what_is_read_stays_meanwhile(admin: Visitor, job: Job) -> None:
    say(admin, job, *(f"frame {n}" for n in range(1, 200)))
    page = admin.visit(f"/jobs/{job.id}")
    page.locator("#log-box").hover()
    write_many(admin.site.seed.ledger, job, 20_000, closed=False)
    expect(page.get_by_text("line 20000 of the log")).to_be_in_viewport()
    assert page.locator("#log .row").count() <= 3000
    scroll_up(page, 800)
    seen = page.evaluate(TOP_LINE)
    write_many(admin.site.seed.ledger, job, 10_000, closed=False)
    page.wait_for_function("() => document.querySelectorAll('#log .row').length > 900")
    assert page.evaluate(TOP_LINE) == seen


def test_gaps_and_all_attempts_are_shown_and_the_next_attempt_is_followed(
    admin: Visitor, job: Job, worker: Worker
) -> None:
    seed = admin.site.seed
    say(admin, job, "of the first")
    write_log(seed.ledger, job, ["after the gap"], lost=93_000)
    page = admin.visit(f"/jobs/{job.id}")
    expect(page.locator("#log")).to_contain_text("… 93,000 lines are missing here (908.2 KiB) …")
    tell(seed.ledger, worker, job, 1, "end", end="stopped")
    again = seed.run(seed.now(job), worker)
    say(admin, again, "of the second")
    expect(page.locator("#log-title")).to_have_text("Log of attempt 2")
    expect(page.locator("#log")).to_contain_text("of the second")
    page.get_by_role("link", name="All attempts").click()
    expect(page.locator("#log-lines")).to_contain_text("of the first")
    expect(page.locator("#log-lines")).to_contain_text("Attempt 2")
    say(admin, again, "newer")
    expect(page.locator("#log-lines")).to_contain_text("newer")


def test_the_log_is_downloaded(admin: Visitor, job: Job) -> None:
    write_many(admin.site.seed.ledger, job, 20_000)
    page = admin.visit(f"/jobs/{job.id}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == f"{job.id}-a1.log"
    assert download.value.path().read_text().count("\n") == 20_000


@pytest.mark.parametrize(("size", "theme"), [(DESK, "light"), (PHONE, "dark")], ids=["1440-light", "390-dark"])
def test_every_colour_is_readable_and_everything_fits(admin: Visitor, job: Job, size: object, theme: str) -> None:
    pens = [f"{E}[{n}mc{E}[0m {E}[{n + 10}mg{E}[0m" for n in (*range(30, 38), *range(90, 98))]
    styles = [f"{E}[{n}ms{E}[0m {E}[31;{n}ms{E}[0m" for n in (1, 2, 3, 4, 7, 9)]
    line = " ".join([*pens, *styles])
    say(admin, job, line, ("e", line), ("m", line), "needle " + line, ("e", "x" * 500), ("O", "10 %"))
    admin.page.set_viewport_size(size)  # type: ignore[arg-type]
    admin.context.add_cookies([{"name": "theme", "value": theme, "url": admin.site.url}])
    page = admin.visit(f"/jobs/{job.id}?search=needle&line=1:4")
    expect(page.locator(".hit")).to_be_in_viewport()
    page.evaluate("scrollTo(0, 0)")  # else a link may lie half under the page's head
    assert (violations(page), looks(page)) == ([], [])
