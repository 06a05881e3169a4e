"""The real application over real stores in a thread, and a browser that complains of what people would not see."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from app.ledger import tokens
from app.pool.settings import ServerSettings
from app.web.app import create_app
from app.web.http.services import EXTENSION
from tests.kit.browser import DESK, ServedWeb, Visitor
from tests.kit.seed import Seed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CHROMIUM = "/usr/bin/chromium"
ANSWER = "muster.answer"  # in the WSGI environment


class Quiet(WSGIRequestHandler):
    """Answers without a line for each request; werkzeug forgets to close an answer that the browser breaks off."""

    def connection_dropped(self, error: BaseException, environ: WSGIEnvironment | None = None) -> None:
        """Its file is closed."""
        if environ and hasattr(environ.get(ANSWER), "close"):
            environ[ANSWER].close()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


@pytest.fixture
def site(database_url: str, redis_url: str, rq_url: str, tmp_path: Path) -> Iterator[ServedWeb]:
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
    yield ServedWeb(url, seed, settings, tokens.create(seed.ledger, "admin", "admin")[1], _creator(seed), stop)
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


@pytest.fixture
def visitor(site: ServedWeb, browser: Browser) -> Iterator[Visitor]:
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
