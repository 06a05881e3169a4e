"""What each page tells and does: the fleet, a worker, jobs, the form, notifications."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from app.ledger import investigations, jobs, policy
from app.pool.model import JobState
from tests.browser import scenes
from tests.kit.browser import ServedWeb, Visitor
from tests.kit.seed import Seed
from tests.kit.services import eventually


def newest(seed: Seed) -> str:
    """The id of the newest job."""
    return jobs.listed(seed.ledger, limit=1)[0].id


def test_an_empty_fleet_shows_how_to_add_a_worker_and_then_the_worker(admin: Visitor) -> None:
    expect(admin.visit("/").locator("pre.command")).to_contain_text(f"MUSTER_SERVER={admin.site.url}")
    admin.site.seed.beat(admin.site.seed.worker("render-01"))
    expect(admin.page.get_by_role("link", name="render-01")).to_be_visible()


def test_the_fleet_is_filtered_by_tiles_words_and_their_negation(admin: Visitor) -> None:
    scenes.studio(admin.site.seed)
    page = admin.visit("/")
    page.get_by_role("link", name="1 ▲ degraded").or_(page.locator("a.tile", has_text="degraded")).first.click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_title("Leave these out").click()
    expect(page).to_have_url(f"{admin.site.url}/?status=%21degraded")
    expect(page.locator("tbody tr")).to_have_count(5)
    page.get_by_label("Tag;").fill("high-vram")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(f"{admin.site.url}/?status=%21degraded&tag=high-vram")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("render-01")
    page.get_by_role("link", name="Drop tag high-vram from the filter").click()
    page.get_by_label("Host or name;").fill("nowhere")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No worker matches")).to_be_visible()


def test_a_worker_s_page_tells_what_it_does_ran_and_was(admin: Visitor) -> None:
    pool = scenes.studio(admin.site.seed)
    page = admin.visit(f"/workers/{pool.down.id}")
    expect(page.get_by_role("heading", name="render-05")).to_be_visible()
    expect(page.locator(".changes")).to_contain_text("its process was killed by SIGKILL")
    expect(page.locator(".ran")).to_contain_text("Trailer, final cut")
    assert f"w-{pool.down.id}" in (page.get_by_role("link", name="Its queue").get_attribute("href") or "")
    page.get_by_role("link", name="Trailer, final cut").click()
    expect(page).to_have_url(f"{admin.site.url}/jobs/{pool.moved.id}")


def test_a_job_s_story_names_both_workers_the_checkpoint_and_the_cause(admin: Visitor) -> None:
    pool = scenes.studio(admin.site.seed)
    page = admin.visit(f"/jobs/{pool.moved.id}")
    story = page.locator(".story")
    expect(story).to_contain_text("render-05")
    expect(story).to_contain_text("Resumed at 40 %, from checkpoint 3 of attempt 1")
    expect(story).to_contain_text("killed by SIGKILL")
    expect(page.get_by_text("hidden")).to_be_visible()
    assert "hunter2" not in page.content()
    page.get_by_role("link", name="See the checkpoint").click()
    expect(page.locator("#checkpoint-1-3")).to_be_visible()


def test_a_waiting_job_says_why(admin: Visitor) -> None:
    pool = scenes.studio(admin.site.seed)
    expect(admin.visit(f"/jobs/{pool.waiting.id}").locator(".told")).to_contain_text("6 lack h100")


def test_outputs_are_shown_and_downloaded(admin: Visitor) -> None:
    pool = scenes.studio(admin.site.seed)
    page = admin.visit(f"/jobs/{pool.done.id}")
    picture = page.get_by_alt_text("still.png")
    eventually(lambda: picture.evaluate("image => image.complete && image.naturalWidth === 1"))
    with page.expect_download() as download:
        page.get_by_role("link", name="notes <1>.txt").click()
    assert Path(download.value.path()).read_bytes() == b"as ordered"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download its log").click()
    assert Path(download.value.path()).read_text() == "joined\nwrote still.png\n"


def test_cancel_asks_first_and_then_cancels(admin: Visitor) -> None:
    job = admin.site.seed.job("Mistake")
    page = admin.visit(f"/jobs/{job.id}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Keep it").click()
    assert admin.site.seed.now(job).state is JobState.PENDING
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".lead .pill")).to_have_text("–cancelled")
    assert admin.site.seed.now(job).state is JobState.CANCELLED


def test_retry_makes_a_new_job_that_names_the_old(admin: Visitor) -> None:
    pool = scenes.studio(admin.site.seed)
    page = admin.visit(f"/jobs/{pool.failed.id}")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("aside")).to_contain_text("Retry of")
    expect(page).to_have_url(f"{admin.site.url}/jobs/{newest(admin.site.seed)}")


def test_a_clip_is_uploaded_and_submitted_by_the_form(ana: Visitor, tmp_path: Path) -> None:
    ana.site.seed.worker("render-01")
    clip = tmp_path / "holiday clip.mp4"
    clip.write_bytes(b"not really a video")
    page = ana.visit("/submit?workflow=transcode")
    expect(page.get_by_text("up to 4.0 GiB")).to_be_visible()
    page.get_by_label("or upload one").set_input_files(clip)
    page.get_by_label("Height").fill("240")
    page.get_by_label("Audio").uncheck()
    page.get_by_text("Name, priority, requirements").click()
    page.get_by_label("Name", exact=True).fill("Holiday")
    page.get_by_label("Required tags").fill("gpu fast")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_role("heading", name="Holiday")).to_be_visible()
    [job] = jobs.listed(ana.site.seed.ledger)
    kept = ana.site.settings.input_folders[0] / "holiday_clip.mp4"
    assert kept.read_bytes() == clip.read_bytes()
    assert job.spec.params == {"input": str(kept), "codec": "h264", "crf": 23, "height": 240, "audio": False}
    assert (job.spec.owner, job.spec.requirement.tags) == ("ana", ("gpu", "fast"))


def test_a_form_that_cannot_be_taken_says_where_and_keeps_what_was_typed(admin: Visitor) -> None:
    admin.site.seed.worker("render-01")
    page = admin.visit("/submit?workflow=transcode")
    page.get_by_label("Input", exact=False).first.fill("/etc/passwd")
    page.get_by_label("Crf").fill("30")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator("#p-input-help")).to_contain_text("must lie under")
    expect(page.get_by_label("Crf")).to_have_value("30")
    assert jobs.listed(admin.site.seed.ledger) == []
    admin.wrong.clear()  # the 422, which the browser reports itself


def test_a_job_is_submitted_again_with_changes(admin: Visitor) -> None:
    seed = admin.site.seed
    seed.worker("render-01")
    old = seed.job("Take one", workflow="burn", params={"seconds": 5.0})
    page = admin.visit(f"/jobs/{old.id}")
    page.get_by_role("link", name="Submit again with changes").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Take one")
    page.get_by_label("Seconds").fill("7")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_text("Parameters")).to_be_visible()
    assert jobs.listed(seed.ledger, limit=1)[0].spec.params == {"seconds": 7.0}


def test_jobs_are_filtered_and_paged_in_the_url(admin: Visitor) -> None:
    seed = admin.site.seed
    worker = seed.worker("render-01")
    for number in range(55):
        seed.job(f"Job {number}")
    seed.run(seed.job("First of all"), worker)
    page = admin.visit("/jobs")
    expect(page.locator("tbody tr").first).to_contain_text("First of all")
    page.get_by_role("link", name="Older →").click()
    expect(page.locator("tbody tr")).to_have_count(5)
    page.get_by_label("State").select_option("running")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(f"{admin.site.url}/jobs?state=running")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_notifications_are_counted_until_they_are_read(ana: Visitor) -> None:
    scenes.studio(ana.site.seed)
    page = ana.visit("/jobs")
    expect(page.locator(".count")).to_contain_text("1")
    page.get_by_role("link", name="Notifications").click()
    expect(page.locator(".notifications")).to_contain_text("Trailer, final cut moved")
    page.get_by_role("button", name="Mark as read", exact=True).click()
    expect(page.locator(".unread")).to_have_count(0)
    expect(page.locator(".count")).to_have_count(0)


def test_every_page_and_action_works_without_javascript(site: ServedWeb, visitor: Visitor) -> None:
    pool = scenes.studio(site.seed)
    context = visitor.page.context.browser.new_context(java_script_enabled=False)  # type: ignore[union-attr]
    page: Page = context.new_page()
    page.goto(f"{site.url}/")
    page.get_by_label("Token").fill(site.admin)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("tbody tr")).to_have_count(6)
    page.goto(f"{site.url}/jobs/{pool.waiting.id}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator(".lead .pill")).to_have_text("–cancelled")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".lead .pill")).to_have_text("?waiting")
    context.close()


def test_a_failure_is_flagged_until_a_person_resolves_it(admin: Visitor) -> None:
    pool = scenes.studio(admin.site.seed)
    page = admin.visit("/")
    page.locator("a.tile", has_text="to look into").click()
    expect(page).to_have_url(f"{admin.site.url}/?investigation=open")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="look into it").click()
    expect(page).to_have_url(f"{admin.site.url}/investigations/{pool.investigation}")
    expect(page.locator(".told")).to_contain_text("its host answers, but its process is gone")
    expect(page.locator(".story")).to_contain_text("Continued on render-01")
    page.get_by_role("textbox", name="Note").fill("Fan stands still")
    page.get_by_role("button", name="Add the note").click()
    expect(page.locator(".notes")).to_contain_text("Fan stands still")
    page.get_by_label("What was found").fill("Fan replaced")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator(".lead")).to_contain_text("resolved")
    page.get_by_role("link", name="Investigations").first.click()
    expect(page.get_by_text("Nothing to look into")).to_be_visible()
    page.get_by_role("link", name="All", exact=True).click()
    expect(page.locator("tbody tr")).to_contain_text("Fan replaced")
    expect(admin.visit("/").locator("a.tile", has_text="to look into")).to_contain_text("0")
    expect(admin.page.get_by_role("link", name="look into it")).to_have_count(0)


def test_what_is_typed_into_a_note_outlives_the_refresh(admin: Visitor) -> None:
    pool = scenes.studio(admin.site.seed)
    page = admin.visit(f"/investigations/{pool.investigation}")
    page.get_by_label("What was found").fill("half a sentence")
    assert investigations.add_note(admin.site.seed.ledger, pool.investigation, "ben", "me too")
    expect(page.locator(".notes")).to_contain_text("me too")
    expect(page.get_by_label("What was found")).to_have_value("half a sentence")


def test_settings_are_changed_and_say_what_follows(admin: Visitor) -> None:
    page = admin.visit("/settings")
    page.get_by_label("Heartbeat interval").fill("1")
    page.get_by_label("Strict").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    expect(page.get_by_label("Heartbeat interval")).to_have_value("1")
    expect(page.get_by_text("after 2.3 s without a heartbeat")).to_be_visible()
    expect(page.get_by_text("Other jobs", exact=True)).to_have_count(0)
    assert policy.read(admin.site.seed.ledger).strict
