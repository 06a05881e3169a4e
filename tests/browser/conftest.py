"""The real application over real stores in a thread, and a browser that complains of what people would not see."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from app.ledger import tokens
from app.pool.settings import ServerSettings
from app.web.app import create_app
from app.web.http.services import EXTENSION
from tests.browser.seed import Seed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CHROMIUM = "/usr/bin/chromium"
DESK = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
ANSWER = "muster.answer"  # in the WSGI environment


class Quiet(WSGIRequestHandler):
    """Answers without a line for each request; werkzeug forgets to close an answer that the browser breaks off."""

    def connection_dropped(self, error: BaseException, environ: WSGIEnvironment | None = None) -> None:
        """Its file is closed."""
        if environ and hasattr(environ.get(ANSWER), "close"):
            environ[ANSWER].close()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


@dataclass(frozen=True)
class Site:
    """A served application, its stores, and people's tokens."""

    url: str
    seed: Seed
    settings: ServerSettings
    admin: str
    creator: str
    stop: Callable[[], None]


@pytest.fixture
def site(database_url: str, redis_url: str, rq_url: str, tmp_path: Path) -> Iterator[Site]:
    """The application on a port of its own."""
    environ = {
        "MUSTER_HOME": str(tmp_path / "home"),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "RQ_REDIS_URL": rq_url,
        "MUSTER_OUTPUT": str(tmp_path / "output"),
        "MUSTER_INPUT": str(tmp_path / "input"),
    }
    (tmp_path / "input").mkdir()
    settings = ServerSettings.from_environment(environ)
    app = create_app(settings)

    def answered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[ANSWER] = app(environ, start_response)
        return cast(Iterable[bytes], environ[ANSWER])

    server = make_server("127.0.0.1", 0, answered, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, name="site")
    thread.start()
    seed = Seed.into(database_url, redis_url, settings.prefix, settings.output_folder)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(10)

    url = f"http://127.0.0.1:{server.server_port}"
    yield Site(url, seed, settings, tokens.create(seed.ledger, "admin", "admin")[1], _creator(seed), stop)
    stop()
    seed.close()
    app.extensions[EXTENSION].close()


def _creator(seed: Seed) -> str:
    return tokens.create(seed.ledger, "creator", "ana")[1]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    expect.set_options(timeout=10_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass(frozen=True)
class Visitor:
    """A person's browser on a site; `wrong` collects console errors, CSP violations and failed requests."""

    page: Page
    context: BrowserContext
    site: Site
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


@pytest.fixture
def visitor(site: Site, browser: Browser) -> Iterator[Visitor]:
    """Somebody who is not signed in; the test fails when their console had an error."""
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    page.set_default_timeout(10_000)
    wrong: list[str] = []
    page.on("console", lambda told: wrong.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield Visitor(page, context, site, wrong)
    context.close()
    assert not wrong, wrong


@pytest.fixture
def admin(visitor: Visitor) -> Visitor:
    """An admin who has signed in."""
    visitor.log_in(visitor.site.admin)
    return visitor


@pytest.fixture
def ana(visitor: Visitor) -> Visitor:
    """A creator who has signed in."""
    visitor.log_in(visitor.site.creator)
    return visitor


def clip(path: Path, seconds: int = 30) -> Path:
    """A file of so many seconds of a test picture with a tone."""
    sources = (f"testsrc2=size=320x240:rate=25:duration={seconds}", f"sine=frequency=440:duration={seconds}")
    inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
    subprocess.run(["ffmpeg", "-loglevel", "error", *inputs, "-preset", "ultrafast", str(path)], check=True)
    return path
