"""Makes docs/fleet.png from a live pool: `python -m docs.picture`.

The pool is real; its four GPUs are the tests' stand-in for the driver, so that any computer can make it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench.kit.pool import Pool, pool
from tests.kit.nvml import Card, Driver

PICTURE = Path(__file__).with_name("fleet.png")
CHROMIUM = "/usr/bin/chromium"
CARDS = tuple(
    Card(f"GPU-{n}", "NVIDIA RTX 4090", total=24564, used=used, utilisation=use, temperature=temperature)
    for n, (used, use, temperature) in enumerate([(18200, 97, 71), (6100, 64, 58), (21900, 99, 74), (410, 0, 36)], 1)
)


def main() -> None:
    """Start a pool with four cards, give it work, photograph its first page."""
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(Path(folder) / "driver")
        driver.say(*CARDS)
        names = {"MUSTER_NAME": "render", "MUSTER_HOST_ID": folder}
        with pool(environment={**driver.environ, **names}) as running:
            _work(running)
            _photograph(running)


def _work(running: Pool) -> None:
    for seconds in (60, 90, 120):
        body = {"workflow": "burn", "name": f"shot {seconds}", "params": {"seconds": seconds, "use": 0.1}}
        running.call("POST", "/jobs", body)
    running.call("POST", "/jobs", {"workflow": "burn", "requires": ["optix"], "params": {"seconds": 5}})


def _photograph(running: Pool) -> None:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 560})
        page.goto(f"{running.server}/login")
        page.get_by_label("Token").fill((running.home / "admin-token").read_text().strip())
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("shot 60").wait_for()
        page.wait_for_timeout(8_000)  # progress, and figures that have been averaged over a beat
        page.screenshot(path=str(PICTURE))
        browser.close()


if __name__ == "__main__":
    main()
