"""What all pages share: who may see them, errors as pages, and the paths that a page and a resource share.

A page is a plain GET that works without JavaScript. A form posts to /ui/<path>/<verb>, is checked
for its CSRF token and answered 303; the verb is the API's own function.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from flask import Blueprint, Flask, Response, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from app.ledger import events
from app.pool.errors import BadRequest
from app.web.http import filters, htmx, sessions
from app.web.http.auth import PEOPLE, Caller
from app.web.http.problems import AWAY, MEDIA_TYPE, away
from app.web.http.services import services

ROOT = Path(__file__).parents[3]
READERS = ("admin", "read")  # who may see hosts and others' jobs
WRITERS = ("admin", "creator")
THEMES = ("light", "dark")

View = Callable[..., ResponseReturnValue]
SHARED: list[tuple[re.Pattern[str], View]] = []


def page(*kinds: str) -> Callable[[View], View]:
    """Only for people signed in by a token of these kinds (any, when none is named); errors become pages."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**path: str) -> ResponseReturnValue:
            try:
                return admit(kinds or PEOPLE) or view(**path)
            except HTTPException as error:
                return _http(error)
            except BadRequest as error:
                return error_page(422, "; ".join([str(error), *(f"{field}: {why}" for field, why in error.errors)]))
            except AWAY as error:
                detail, headers = away(error)
                g.caller = None  # the head of the page would ask the ledger again
                page = error_page(503, detail)
                page.headers.update(headers)
                return page

        return guarded

    return decorate


def shared(pattern: str) -> Callable[[View], View]:
    """This page stands where a resource of the API stands: `Accept: text/html` gives the page."""

    def decorate(view: View) -> View:
        SHARED.append((re.compile(pattern), view))
        return view

    return decorate


def install(app: Flask, blueprints: Iterable[Blueprint]) -> None:
    """Add the pages to the application."""
    htmx.install(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(filters.FILTERS)
    app.before_request(_page_instead)
    app.after_request(_readable)
    app.context_processor(_everywhere)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)


def login_url() -> str:
    """The login page, which leads back here."""
    here = request.full_path.rstrip("?") if request.method == "GET" and not request.path.startswith("/ui/") else "/"
    return f"/login?next={quote(here)}" if here != "/" else "/login"


def error_page(status: int, detail: str) -> Response:
    """An error that a person can read."""
    title = HTTPStatus(status).phrase
    return Response(render_template("pages/error.html", status=status, title=title, detail=detail), status)


def admit(kinds: tuple[str, ...]) -> Response | None:
    """None when somebody signed in by such a token asks, with a CSRF token on a POST; else what to answer."""
    g.caller = sessions.signed_in()
    if g.caller is None:
        return htmx.go_to(login_url())
    if g.caller.kind not in kinds:
        return error_page(403, f"You are signed in with a {g.caller.kind} token; this is for {' and '.join(kinds)}.")
    if request.method == "POST":
        sessions.csrf.protect()
    return None


def _http(error: HTTPException) -> Response:
    if error.code is None or error.code < 400:
        return Response(error.get_response().get_data(), headers=dict(error.get_response().headers))
    return error_page(error.code, error.description or "")


def _page_instead() -> ResponseReturnValue | None:
    if request.method not in ("GET", "HEAD"):
        return None
    for pattern, view in SHARED:
        found = pattern.fullmatch(request.path)
        if found and _wants_page():
            response = make_response(view(**found.groupdict()))
            response.vary.update(("Accept", "Cookie", "Authorization"))
            return response
    return None


def _readable(response: Response) -> Response:
    """A problem that a person meets in a browser (a path that does not exist) as a page."""
    if response.mimetype != MEDIA_TYPE or not _wants_page():
        return response
    told = response.get_json()
    g.caller = None
    page = error_page(told["status"], told["detail"])
    page.headers.update({name: value for name, value in response.headers if not name.startswith("Content-")})
    return page


def _wants_page() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _everywhere() -> dict[str, object]:
    """What every template may use: who looks, how many notifications are unread, the chosen theme."""
    caller: Caller | None = g.get("caller")
    theme = request.cookies.get("theme")
    whole = not request.path.startswith("/ui/")
    return {
        "caller": caller,
        "unread": events.unread(services().ledger, caller.owner) if caller and whole else 0,
        "theme": theme if theme in THEMES else None,
    }
