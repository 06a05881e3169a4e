"""Why a job waits, on its page: asked for by a click, or by a plain link; readable by everybody."""

from __future__ import annotations

import pytest

from tests.kit.browser import DESK, PHONE, Visitor, looks, violations


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_click_tells_filter_by_filter_why_a_job_waits(admin: Visitor, theme: str) -> None:
    seed = admin.site.seed
    seed.worker("render-01")
    job = seed.job("clip", tags=("optix",))
    admin.context.add_cookies([{"name": "theme", "value": theme, "url": admin.site.url}])
    page = admin.visit(f"/jobs/{job.id}")
    assert "lacks optix" not in page.locator("#why").inner_text()
    page.get_by_role("link", name="Why?").click()
    page.locator("#why").get_by_text("1 worker: 1 lacks optix.").wait_for()
    assert page.url.endswith(f"/jobs/{job.id}")
    assert page.locator("#why").get_by_role("link", name="render-01").count() == 1
    assert violations(page) == []
    for size in (DESK, PHONE):
        page.set_viewport_size(size)
        assert looks(page) == []
    assert "lacks optix" in admin.visit(f"/jobs/{job.id}?why=1").locator("#why").inner_text()
