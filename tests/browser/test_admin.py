"""What admins do on the pages: in place, in bulk, with a script and without; what they ticked outlives the refresh."""

from __future__ import annotations

from dataclasses import replace

from playwright.sync_api import Browser, Page, expect

from app.ledger import groups, tokens
from app.ledger.registry import setups, workers
from app.pool.model import Intent, Worker
from tests.browser import scenes
from tests.kit.browser import DESK, ServedWeb, Visitor, polled
from tests.kit.seed import Seed


def now(seed: Seed, worker: Worker) -> Worker:
    found = workers.find(seed.ledger, worker.id)
    assert found is not None
    return found


def pick(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_label(f"Select {name}").check()


def test_a_worker_is_set_up_in_place(admin: Visitor) -> None:
    seed = admin.site.seed
    pool = scenes.studio(seed)
    groups.create(seed.ledger, "farm", None)
    page = admin.visit(f"/workers/{pool.busy.id}")
    page.get_by_label("Tags", exact=True).fill("optix cuda-12")
    page.get_by_label("farm").check()
    page.get_by_label("burn").check()
    page.get_by_label("Slots").fill("3")
    page.get_by_label("Queue depth").fill("1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    expect(page.get_by_label("Tags", exact=True)).to_have_value("cuda-12 optix")
    expect(page.get_by_label("burn")).to_be_checked()
    worker = now(seed, pool.busy)
    assert setups.setup_of(worker) == setups.Setup(("cuda-12", "optix"), ("farm",), ("burn",), 3, 1)
    page.get_by_label("Tags", exact=True).fill("no such/tag")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").first).to_contain_text("Nothing was changed")
    expect(page.locator("#setup-tags-help")).to_contain_text("letters, digits and . _ : + - only")
    expect(page.get_by_label("Tags", exact=True)).to_have_value("no such/tag")
    admin.wrong.clear()  # the 422, which the browser reports itself


def test_of_two_who_set_a_worker_up_the_second_is_told_with_the_present_values(admin: Visitor) -> None:
    seed = admin.site.seed
    pool = scenes.studio(seed)
    page = admin.visit(f"/workers/{pool.busy.id}")
    page.get_by_label("Tags", exact=True).fill("mine")
    setups.change(seed.ledger, [pool.busy.id], lambda w: replace(setups.setup_of(w), tags=("theirs",)), "ben")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").first).to_contain_text("Somebody has changed this meanwhile")
    expect(page.get_by_label("Tags", exact=True)).to_have_value("theirs")
    page.get_by_label("Tags", exact=True).fill("theirs mine")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    assert now(seed, pool.busy).tags == ("mine", "theirs")
    admin.wrong.clear()  # the 412, which the browser reports itself


def test_a_worker_is_paused_for_a_time_and_resumed(admin: Visitor) -> None:
    pool = scenes.studio(admin.site.seed)
    page = admin.visit(f"/workers/{pool.busy.id}")
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_label("For how long").select_option("1 hour")
    page.get_by_label("Why").fill("driver update")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator(".toast")).to_contain_text("render-01: paused until 20")
    expect(page.locator(".lead .pill")).to_have_text("=paused")
    expect(page.locator(".told").first).to_contain_text("driver update")
    assert now(admin.site.seed, pool.busy).paused_until is not None
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".toast")).to_contain_text("render-01: takes jobs again")
    expect(page.locator(".lead .pill")).to_have_text("✓healthy")


def test_ticked_workers_are_counted_tagged_and_told_of(admin: Visitor) -> None:
    seed = admin.site.seed
    pool = scenes.studio(seed)
    page = admin.visit("/?status=!left")
    expect(page.locator("#bulk")).to_be_hidden()
    pick(page, "render-01", "render-02")
    expect(page.locator("#picked")).to_have_text("2 selected")
    page.get_by_label("Tags, between spaces").fill("night")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".toast")).to_contain_text("render-01, render-02: tags + night.")
    expect(page).to_have_url(f"{admin.site.url}/?status=%21left")
    assert now(seed, pool.busy).tags == ("night",)
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".toast")).to_have_count(0)


def test_ticks_outlive_the_refresh(admin: Visitor) -> None:
    seed = admin.site.seed
    pool = scenes.studio(seed)
    page = admin.visit("/")
    pick(page, "render-01", "render-03")
    page.get_by_label("Tags, between spaces").fill("half a ta")
    seed.report(pool.running, pool.busy, "progress", number=9, fraction=0.61)
    expect(page.locator("#live")).to_contain_text("61 %")
    expect(page.get_by_label("Select render-01")).to_be_checked()
    expect(page.get_by_label("Select render-03")).to_be_checked()
    expect(page.get_by_label("Select render-02")).not_to_be_checked()
    expect(page.get_by_label("Tags, between spaces")).to_have_value("half a ta")
    expect(page.locator("#picked")).to_have_text("2 selected")
    seed.beat(seed.worker("render-00"))  # a row that comes above them takes nobody's tick
    expect(page.locator("tbody tr")).to_have_count(7)
    expect(page.get_by_label("Select render-01")).to_be_checked()
    expect(page.get_by_label("Select render-00")).not_to_be_checked()
    expect(page.locator("#matching")).to_have_text("7")


def test_all_that_match_are_paused_also_those_of_other_pages(admin: Visitor) -> None:
    seed = admin.site.seed
    for number in range(103):
        seed.worker(f"render-{number:03d}")
    seed.worker("encode-01")
    page = admin.visit("/?host=render")
    pick(page, "render-000")
    page.get_by_text("select all 103 matching").click()
    expect(page.locator("#picked")).to_have_text("103 selected")
    page.get_by_label("Action").select_option("Pause")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".toast")).to_contain_text("render-000, render-001")
    expect(page.locator(".toast")).to_contain_text("79 more: paused until it is resumed")
    paused = [worker.name for worker in workers.listed(seed.ledger) if worker.intent is Intent.PAUSED]
    assert len(paused) == 103 and "encode-01" not in paused


def test_select_this_page_and_clear(admin: Visitor) -> None:
    scenes.studio(admin.site.seed)
    page = admin.visit("/")
    pick(page, "render-01")
    page.get_by_role("button", name="Select this page").click()
    expect(page.locator("#picked")).to_have_text("6 selected")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#bulk")).to_be_hidden()
    polled(page, 304)
    expect(page.get_by_label("Select render-01")).not_to_be_checked()


def test_a_reader_sees_no_boxes_and_no_forms(visitor: Visitor) -> None:
    seed = visitor.site.seed
    pool = scenes.studio(seed)
    scenes.grouped(seed, pool.busy)
    visitor.log_in(tokens.create(seed.ledger, "read", "eve")[1])
    page = visitor.visit("/")
    expect(page.locator("tbody tr")).to_have_count(6)
    expect(page.locator("input[type=checkbox]")).to_have_count(0)
    page = visitor.visit(f"/workers/{pool.busy.id}")
    expect(page.locator("#setup")).to_have_count(0)
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    page = visitor.visit("/settings/groups/farm")
    expect(page.get_by_label("Name")).to_be_disabled()
    expect(page.get_by_role("link", name="Delete")).to_have_count(0)


def test_groups_are_made_filled_renamed_and_deleted(admin: Visitor) -> None:
    seed = admin.site.seed
    pool = scenes.studio(seed)
    page = admin.visit("/settings")
    page.get_by_role("link", name="Groups").click()
    expect(page.get_by_text("There is no group yet")).to_be_visible()
    page.get_by_label("Name").fill("farm")
    page.get_by_label("Strategy").select_option("round-robin")
    page.get_by_role("button", name="Make it").click()
    expect(page).to_have_url(f"{admin.site.url}/settings/groups/farm")
    page.get_by_label("render-01").check()
    page.get_by_label("render-02").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    expect(page.locator("aside")).to_contain_text("0 waiting")
    job = seed.job("Night", group="farm")
    page.get_by_label("Name").fill("barn")
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(f"{admin.site.url}/settings/groups/barn?saved=1")
    assert seed.now(job).spec.requirement.group == "barn"
    assert now(seed, pool.busy).groups == ("barn",)
    page.get_by_role("link", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 workers leave it. 1 waiting job is bound to it.")
    dialog.get_by_role("link", name="Keep it").click()
    expect(dialog).to_be_hidden()
    groups.create(seed.ledger, "attic", None)
    page.reload()
    page.get_by_role("link", name="Delete").click()
    dialog.get_by_label("Group that takes the jobs").select_option("attic")
    dialog.get_by_role("button", name="Delete the group").click()
    expect(page).to_have_url(f"{admin.site.url}/settings/groups")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("attic")
    assert seed.now(job).spec.requirement.group == "attic"


def test_everything_works_without_a_script(site: ServedWeb, browser: Browser) -> None:
    seed = site.seed
    pool = scenes.studio(seed)
    context = browser.new_context(viewport=DESK, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.url}/login")
    page.get_by_label("Token").fill(site.admin)
    page.get_by_role("button", name="Log in").click()
    pick(page, "render-01", "render-02")
    page.get_by_label("Action").select_option("Pause")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".toast")).to_contain_text("render-01, render-02: paused until it is resumed.")
    page.goto(f"{site.url}/workers/{pool.busy.id}")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".toast")).to_contain_text("takes jobs again")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".toast")).to_contain_text("paused until it is resumed")
    assert now(seed, pool.busy).intent is Intent.PAUSED
    scenes.grouped(seed, pool.busy)
    page.goto(f"{site.url}/settings/groups/farm")
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_text("1 worker leaves it. 1 waiting job is bound to it.")).to_be_visible()
    page.get_by_label("wait until there is a group").check()
    page.get_by_role("button", name="Delete the group").click()
    expect(page.get_by_text("There is no group yet")).to_be_visible()
    context.close()
