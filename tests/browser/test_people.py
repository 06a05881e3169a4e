"""Signing in and out, who may see what, and the chosen theme."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from app.ledger import tokens
from app.pool.model import JobState
from tests.browser import scenes
from tests.kit.browser import Visitor


def test_a_stranger_is_led_to_the_login_page_and_back(visitor: Visitor) -> None:
    page = visitor.visit("/jobs?state=failed")
    expect(page).to_have_url(f"{visitor.site.url}/login?next=/jobs%3Fstate%3Dfailed")
    page.get_by_label("Token").fill(visitor.site.admin)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{visitor.site.url}/jobs?state=failed")


@pytest.mark.parametrize("target", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
def test_login_never_leads_to_another_server(visitor: Visitor, target: str) -> None:
    page = visitor.visit(f"/login?next={target}")
    page.get_by_label("Token").fill(visitor.site.admin)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{visitor.site.url}/")


def test_a_wrong_token_is_said_to_be_wrong(visitor: Visitor) -> None:
    page = visitor.visit("/login")
    page.get_by_label("Token").fill("mst_admin_nonsense")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("no token")
    visitor.wrong.clear()  # the browser reports the 422 itself


def test_logging_out_ends_the_session_for_copies_of_its_cookie_too(admin: Visitor) -> None:
    cookies = admin.context.cookies()
    session = next(cookie for cookie in cookies if cookie["name"] == "muster")
    assert session["httpOnly"] and session["sameSite"] == "Lax"
    admin.page.locator("summary").filter(has_text="admin").click()
    admin.page.get_by_role("button", name="Log out").click()
    expect(admin.page.get_by_label("Token")).to_be_visible()
    admin.context.add_cookies(cookies)  # type: ignore[arg-type]
    admin.visit("/")
    expect(admin.page.get_by_label("Token")).to_be_visible()


def test_a_revoked_token_ends_its_sessions(admin: Visitor) -> None:
    token = tokens.find(admin.site.seed.ledger, admin.site.admin)
    assert token
    tokens.revoke(admin.site.seed.ledger, token.id)
    expect(admin.page.get_by_label("Token")).to_be_visible()  # the next poll leads there
    admin.wrong.clear()  # that poll's 401, which the browser reports itself


def test_a_form_without_its_csrf_token_changes_nothing(admin: Visitor) -> None:
    job = admin.site.seed.job("Keep me")
    answer = admin.context.request.post(f"{admin.site.url}/ui/jobs/{job.id}/cancel")
    assert answer.status == 400
    assert admin.site.seed.now(job).state is JobState.PENDING


def test_the_api_takes_no_cookies(admin: Visitor) -> None:
    job = admin.site.seed.job("Keep me")
    assert admin.context.request.delete(f"{admin.site.url}/jobs/{job.id}").status == 401
    assert admin.context.request.get(f"{admin.site.url}/jobs", headers={"Accept": "application/json"}).status == 401


def test_a_creator_sees_their_own_jobs_and_no_hosts(ana: Visitor) -> None:
    pool = scenes.studio(ana.site.seed)
    other = ana.site.seed.job("Somebody else's", owner="ben")
    page = ana.visit("/")
    expect(page).to_have_url(f"{ana.site.url}/jobs")
    expect(page.get_by_role("link", name="Opening reel")).to_be_visible()
    assert "ben" not in page.content() and "render-0" not in page.content()
    ana.visit(f"/jobs/{pool.running.id}")
    assert "render-0" not in page.content()
    for path in (f"/workers/{pool.busy.id}", f"/jobs/{other.id}"):
        answer = page.goto(f"{ana.site.url}{path}")
        assert answer and answer.status in (403, 404)
    ana.wrong.clear()  # these two answers, which the browser reports itself


def test_the_theme_is_kept_and_follows_the_system_until_chosen(admin: Visitor) -> None:
    page = admin.page
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    page.locator("summary").filter(has_text="admin").click()
    page.get_by_role("button", name="Light").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 248, 250)"
