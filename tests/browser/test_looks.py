"""How pages look to everybody: axe-core finds nothing, nothing overflows, nothing is cut off without its whole."""

from __future__ import annotations

import pytest
from playwright.sync_api import ViewportSize

from app.ledger import holds, investigations, open_attempts, policy
from app.pool.model import Health
from tests.browser import scenes
from tests.kit.browser import DESK, PHONE, Visitor, looks, violations


# Colours hang on the theme, places on the size: two of the four see both.
@pytest.mark.parametrize(("size", "theme"), [(DESK, "light"), (PHONE, "dark")], ids=["1440-light", "390-dark"])
def test_axe_finds_no_violation(admin: Visitor, theme: str, size: ViewportSize) -> None:
    pool = scenes.studio(admin.site.seed)
    scenes.grouped(admin.site.seed, pool.busy)
    admin.page.set_viewport_size(size)
    admin.context.add_cookies([{"name": "theme", "value": theme, "url": admin.site.url}])
    paths = [
        "/?status=!left",
        f"/workers/{pool.busy.id}",
        "/jobs",
        f"/jobs/{pool.moved.id}",
        f"/jobs/{pool.done.id}",
        f"/jobs/{pool.failed.id}",
        "/submit?workflow=transcode",
        "/notifications",
        "/investigations",
        f"/investigations/{pool.investigation}",
        "/settings",
        "/settings/groups",
        "/settings/groups/farm",
        "/settings/groups/farm/delete",
        "/login",
    ]
    found = {path: violations(admin.visit(path)) for path in paths}
    admin.visit(f"/jobs/{pool.running.id}")
    admin.page.get_by_role("button", name="Cancel", exact=True).click()
    found["the cancel dialog"] = violations(admin.page)
    admin.visit("/settings/groups/farm").get_by_role("link", name="Delete").click()
    found["the delete dialog"] = violations(admin.page)
    admin.visit(f"/workers/{pool.busy.id}").get_by_role("button", name="Pause").first.click()
    found["the pause dialog"] = violations(admin.page)
    admin.visit("/").get_by_label("Select render-01").check()
    for action in ("tag", "group", "pause"):
        admin.page.get_by_label("Action").select_option(action)
        found[f"the bar to {action}"] = violations(admin.page)
    admin.page.get_by_role("button", name="Apply").click()
    found["what was done"] = violations(admin.page)
    assert not {path: wrong for path, wrong in found.items() if wrong}


@pytest.mark.parametrize("count", [1, 6, 60])
def test_nothing_overflows_overlaps_or_is_cut_off_unsaid(admin: Visitor, count: int) -> None:
    scenes.crowd(admin.site.seed, count)
    worker = admin.site.seed.redis.zrange(admin.site.seed.keys.load, 0, 0)[0]
    groups = ("/settings/groups", f"/settings/groups/{scenes.GROUP}", f"/settings/groups/{scenes.GROUP}/delete")
    wrong = {}
    for size in (DESK, PHONE):
        admin.page.set_viewport_size(size)
        for path in ("/", "/jobs", f"/workers/{worker}", "/submit?workflow=transcode", *groups):
            admin.visit(path)
            admin.page.wait_for_load_state("networkidle")
            if found := looks(admin.page):
                wrong[f"{path} at {size['width']}"] = found[:6]
        admin.visit("/").get_by_label("Select worker-00").check()
        admin.page.get_by_label("Action").select_option("pause")
        if found := looks(admin.page):
            wrong[f"the bar at {size['width']}"] = found[:6]
    assert not wrong, wrong


def test_an_investigation_with_long_words_fits_its_page(admin: Visitor) -> None:
    seed = admin.site.seed
    worker = seed.worker(scenes.LONG[:63], host=scenes.LONG, gpus=4)
    seed.samples(worker, [0.1, 0.5, 0.9])
    job = seed.run(seed.job("N" * 200), worker, 0.4)
    one = seed.investigate(worker, "out of memory", "w" * 300)
    seed.health(worker, Health.DOWN, "c" * 300)
    open_attempts.take_away_all(seed.ledger, worker.id, "c" * 300)
    assert investigations.add_note(seed.ledger, one, "a" * 100, "t" * 2000)
    for size in (DESK, PHONE):
        admin.page.set_viewport_size(size)
        for path in (f"/investigations/{one}", "/investigations?all=1", "/settings", f"/jobs/{job.id}"):
            assert looks(admin.visit(path)) == [], path
        investigations.resolve(seed.ledger, one, "a" * 100, "n" * 2000)


def test_a_worker_that_was_blocked_and_paused_says_so_on_pages_that_it_fits(admin: Visitor) -> None:
    seed, owners = admin.site.seed, [letter * 100 for letter in "abc"]
    bad, good, *_ = [seed.worker(name, host=scenes.LONG) for name in (scenes.LONG[:63], *"wxyz")]
    policy.write(seed.ledger, {"block_failures": 1}, "root")
    lost = [seed.run(seed.job(owner=owner, max_failures=1), bad) for owner in owners]
    seed.finish(seed.run(seed.job(), good), good, {})
    for job in lost:
        seed.fail(job, bad, "e" * 300)
    one = investigations.open_of(seed.ledger, [bad.id])[bad.id]
    seed.beat(bad)
    for size in (DESK, PHONE):
        admin.page.set_viewport_size(size)
        for path, words in (
            (f"/workers/{bad.id}", "while others succeed"),
            (f"/investigations/{one}", "does not resume"),
        ):
            shown = admin.visit(path)
            assert words in shown.locator("#live").inner_text()
            assert (looks(shown), violations(shown)) == ([], []), path


def test_a_job_with_long_names_fits_its_page(admin: Visitor) -> None:
    seed = admin.site.seed
    worker = seed.worker(scenes.LONG[:63], host=scenes.LONG)
    job = seed.job(
        "N" * 200, owner="o" * 100, params={"input": "/srv/" + "x" * 300, "y" * 60: "z" * 500}, max_failures=1
    )
    seed.run(job, worker, 0.2, "t" * 200, ["l" * 4000])
    seed.fail(job, worker, "e" * 1000)
    for size in (DESK, PHONE):
        admin.page.set_viewport_size(size)
        assert looks(admin.visit(f"/jobs/{job.id}")) == []


def test_a_workflow_on_hold_and_doubtful_outputs_say_so_on_pages_that_they_fit(admin: Visitor) -> None:
    seed = admin.site.seed
    worker = seed.worker(scenes.LONG[:63], host=scenes.LONG)
    done = seed.finish(seed.run(seed.job(), worker), worker, {f"{'f' * 200}.exr": b"", "g.exr": b"x"})
    job = seed.run(seed.job(), worker)
    seed.report(job, worker, "end", end="failed", cause="workflow", then="hold", because="e" * 200, error="e" * 300)
    seed.beat(worker)
    told = (("/", "is on hold since"), ("/jobs", "is on hold since"), (f"/jobs/{done.id}", "is empty"))
    for size in (DESK, PHONE):
        admin.page.set_viewport_size(size)
        for path, words in (*told, (f"/jobs/{job.id}", "put the workflow on hold")):
            shown = admin.visit(path)
            assert words in shown.locator("#live").inner_text()
            assert (looks(shown), violations(shown)) == ([], []), path
    admin.visit("/").get_by_role("button", name="Lift the hold").click()
    admin.page.wait_for_url("**/jobs?state=pending")
    assert holds.listed(seed.ledger) == []
