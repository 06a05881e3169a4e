"""What is shown stays true by itself, and leaves alone what a person does meanwhile."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser import scenes
from tests.kit.browser import ServedWeb, Visitor, clip, polled
from tests.kit.services import eventually

SLOW_MS = 10_000


def test_polling_keeps_typed_text_focus_ticks_open_details_and_scroll(admin: Visitor) -> None:
    seed = admin.site.seed
    pool = scenes.studio(seed)
    page = admin.visit(f"/jobs/{pool.moved.id}")
    page.locator("#checkpoints summary").click()
    # A field and a box inside of what is polled: no page has them there today, the rule holds all the same.
    page.evaluate(
        """() => document.querySelector('#attempt-1').insertAdjacentHTML('beforeend',
           '<input id="note"><input id="box" type="checkbox">')"""
    )
    page.set_viewport_size({"width": 1440, "height": 400})
    page.get_by_role("link", name="Log", exact=True).first.focus()
    page.evaluate("window.scrollTo(0, 100)")
    seed.report(pool.moved, pool.busy, "progress", number=9, fraction=0.77, text="segment 8 of 10")
    expect(page.locator(".lead")).to_contain_text("77 %")
    expect(page.locator("#checkpoint-1-3")).to_be_visible()
    assert page.evaluate("window.scrollY") == 100
    assert page.evaluate("document.activeElement.textContent") == "Log"


def test_polling_keeps_a_filter_that_is_being_typed(admin: Visitor) -> None:
    seed = admin.site.seed
    pool = scenes.studio(seed)
    page = admin.visit("/")
    page.get_by_label("Tag;").fill("high")
    page.get_by_label("Tag;").focus()
    seed.report(pool.running, pool.busy, "progress", number=9, fraction=0.61)
    expect(page.locator("#live")).to_contain_text("61 %")
    expect(page.get_by_label("Tag;")).to_have_value("high")
    expect(page.get_by_label("Tag;")).to_be_focused()


def test_ticked_boxes_and_typed_text_inside_a_polled_part_survive_its_morph(admin: Visitor) -> None:
    page = admin.page
    inside = '<input id="text" value=""><input id="tick" type="checkbox"><details id="more"><p>{}</p></details>'
    page.evaluate(
        "html => document.body.insertAdjacentHTML('beforeend', html)", f'<div id="part">{inside.format("x")}</div>'
    )
    page.locator("#text").fill("typed")
    page.locator("#tick").check()
    page.evaluate("document.getElementById('more').open = true")
    morph = "html => Idiomorph.morph(document.getElementById('part'), html, {morphStyle: 'innerHTML'})"
    page.evaluate(morph, inside.format("y"))
    expect(page.locator("#text")).to_have_value("typed")
    expect(page.locator("#tick")).to_be_checked()
    expect(page.locator("#more")).to_have_attribute("open", "")
    expect(page.locator("#more p")).to_have_text("y")


def test_what_has_not_changed_is_answered_304_and_stays_shown(admin: Visitor) -> None:
    scenes.studio(admin.site.seed)
    page = admin.visit("/")
    polled(page, 304)
    expect(page.locator("tbody tr")).to_have_count(6)


def test_a_hidden_tab_does_not_poll_and_looks_again_when_it_is_seen(admin: Visitor) -> None:
    scenes.studio(admin.site.seed)
    page = admin.visit("/")
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    polls: list[str] = []
    # A browser may ask for the icon whenever it has time.
    page.on("request", lambda request: polls.append(request.url) if "/ui/" in request.url else None)
    # Two of its polls come and are cancelled.
    page.evaluate(
        """() => new Promise(done => { let seen = 0;
           document.addEventListener('htmx:configRequest', () => { if (++seen === 2) done(); }); })"""
    )
    assert polls == []
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false, configurable: true})")
    with page.expect_response(lambda answer: "/ui/fleet" in answer.url):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_a_server_that_is_gone_is_said_so_and_its_figures_grey_out(admin: Visitor) -> None:
    scenes.studio(admin.site.seed)
    page = admin.visit("/")
    polled(page, 304)
    admin.site.stop()
    expect(page.locator("#gone")).to_be_visible()
    expect(page.locator("#gone")).to_contain_text("Cannot reach the server for")
    assert "grayscale" in page.locator("#live").evaluate("part => getComputedStyle(part).filter")
    admin.wrong.clear()  # the refused requests, which the browser reports itself


def test_a_server_that_comes_back_is_believed_again(admin: Visitor) -> None:
    scenes.studio(admin.site.seed)
    page = admin.visit("/")
    page.route("**/ui/fleet*", lambda route: route.fulfill(status=503, body=""))
    expect(page.locator("#gone")).to_be_visible()
    page.unroute("**/ui/fleet*")
    expect(page.locator("#gone")).to_be_hidden()
    admin.wrong.clear()  # the 503, which the browser reports itself


def test_a_video_plays_on_while_its_page_is_refreshed(admin: Visitor, tmp_path: Path) -> None:
    seed = admin.site.seed
    worker = seed.worker("render-01")
    seed.beat(worker)
    reel = clip(tmp_path / "reel.mp4").read_bytes()
    done = seed.finish(seed.run(seed.job("Reel"), worker), worker, {"reel.mp4": reel})
    page = admin.visit(f"/jobs/{done.id}")
    video = page.locator("video.shown")
    video.evaluate("video => { video.mine = true; video.muted = true; return video.play(); }")
    eventually(lambda: video.evaluate("video => video.currentTime > 0.2"))
    before = video.evaluate("video => video.currentTime")
    seed.report(done, worker, "checkpoint", number=1, state={})  # refused as a late one, which the story tells
    expect(page.locator(".story")).to_contain_text("A late checkpoint of attempt 1 was refused")
    assert video.evaluate("video => video.mine && !video.paused && video.currentTime") > before
    # And on: its time passes after the refresh too.
    then = video.evaluate("video => video.currentTime")
    eventually(lambda: video.evaluate("video => video.currentTime") > then)


def test_ages_go_on_without_an_answer(site: ServedWeb, admin: Visitor) -> None:
    worker = site.seed.worker("render-01")
    site.seed.beat(worker)
    page = admin.visit("/")
    cell = page.locator(f"#worker-{worker.id} .heard time")
    expect(cell).to_be_visible()
    before = cell.inner_text()
    expect(cell).not_to_have_text(before)
