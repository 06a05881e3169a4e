"""What all pages share: who may see them, errors as pages, and the paths that a page and a resource share.

A page is a plain GET that works without JavaScript. A form posts to /ui/<path>/<verb>, is checked for its CSRF
token, calls an action, and is answered 303.

Where a page and a resource of the API have one path, Flask's routing finds the API's view, and the dispatcher here
answers with the page in its place when the request accepts HTML before JSON.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from flask import Blueprint, Flask, Response, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from app.actions.actor import Actor
from app.actions.errors import ActionError
from app.ledger import events
from app.pool.errors import BadRequest
from app.web.http import filters, htmx, sessions
from app.web.http.auth import PEOPLE
from app.web.http.problems import AWAY, MEDIA_TYPE, STATUSES, away
from app.web.http.services import services

ROOT = Path(__file__).parents[3]
THEMES = ("light", "dark")

View = Callable[..., ResponseReturnValue]


def page(*kinds: str) -> Callable[[View], View]:
    """Admit only people who signed in by a token of these kinds (any, when none is named); errors become pages."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**path: str) -> ResponseReturnValue:
            try:
                return admit(kinds or PEOPLE) or view(**path)
            except HTTPException as error:
                return _http(error)
            except ActionError as error:
                return error_page(STATUSES[type(error)], str(error))
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


def install(app: Flask, blueprints: Iterable[Blueprint], in_place: Mapping[str, View]) -> None:
    """Add the pages to the application; `in_place` names the API's endpoint that a page stands in for."""
    htmx.install(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(filters.FILTERS)
    app.jinja_env.globals.update(filters.GLOBALS)
    app.before_request(functools.partial(_page_in_place, in_place))
    app.after_request(_readable)
    app.context_processor(_everywhere)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)


def login_url() -> str:
    """The URL of the login page, which leads back to the present page."""
    here = request.full_path.rstrip("?") if request.method == "GET" and not request.path.startswith("/ui/") else "/"
    return f"/login?next={quote(here)}" if here != "/" else "/login"


def error_page(status: int, detail: str) -> Response:
    """An error as a page."""
    title = HTTPStatus(status).phrase
    return Response(render_template("pages/error.html", status=status, title=title, detail=detail), status)


def admit(kinds: tuple[str, ...]) -> Response | None:
    """None for a person who signed in by a token of these kinds; else the answer that refuses the request.

    Raises a CSRFError (400) for a POST without the form's token.
    """
    g.caller = sessions.signed_in()
    if g.caller is None:
        return htmx.go_to(login_url())
    if g.caller.role not in kinds:
        return error_page(403, f"You are signed in with a {g.caller.role} token; this is for {' and '.join(kinds)}.")
    if request.method == "POST":
        sessions.csrf.protect()
    return None


def _http(error: HTTPException) -> Response:
    if error.code is None or error.code < 400:
        return Response(error.get_response().get_data(), headers=dict(error.get_response().headers))
    return error_page(error.code, error.description or "")


def _page_in_place(in_place: Mapping[str, View]) -> ResponseReturnValue | None:
    # Before the API's guard: it would ask for a bearer token, and a page has a session.
    view = in_place.get(request.endpoint or "")
    if view is None or not _wants_page():
        return None
    response = make_response(view(**(request.view_args or {})))
    response.vary.update(("Accept", "Cookie", "Authorization"))
    return response


def _readable(response: Response) -> Response:
    """Turn a problem that a person meets in a browser (a path that does not exist) into a page."""
    if response.mimetype != MEDIA_TYPE or not _wants_page():
        return response
    body = response.get_json()
    g.caller = None
    page = error_page(body["status"], body["detail"])
    page.headers.update({name: value for name, value in response.headers if not name.startswith("Content-")})
    return page


def _wants_page() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _everywhere() -> dict[str, object]:
    """The variables of every template: the reader, their count of unread notifications, the chosen theme."""
    caller: Actor | None = g.get("caller")
    theme = request.cookies.get("theme")
    whole = not request.path.startswith("/ui/")
    return {
        "caller": caller,
        "unread": events.unread(services().ledger, caller.name) if caller and whole else 0,
        "theme": theme if theme in THEMES else None,
    }
