"""Sessions of people on the pages: a signed cookie names the session, the ledger knows whether it still lives.

Only pages have sessions, with a CSRF token on every form; the API takes no cookies.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface
from flask_wtf.csrf import CSRFProtect

from app.actions.actor import Actor
from app.ledger import sessions, tokens
from app.pool.settings import ServerSettings
from app.pool.text import write_private
from app.web.http.auth import PEOPLE, actor_of
from app.web.http.services import services

NAME = "sid"
csrf = CSRFProtect()


class _Cookies(SecureCookieSessionInterface):
    """Cookies that browsers send over https only, when they were set over https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def install(app: Flask, settings: ServerSettings) -> None:
    """Sign cookies, and set up the check of forms, which `pages.base.admit` makes."""
    app.secret_key = secret_key(settings)
    app.session_interface = _Cookies()
    app.config.update(
        SESSION_COOKIE_NAME="muster",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,  # polls come every second
        PERMANENT_SESSION_LIFETIME=timedelta(seconds=sessions.LIFE_S),
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        WTF_CSRF_SSL_STRICT=False,  # it asks for a Referer, which Referrer-Policy forbids browsers to send
    )
    csrf.init_app(app)


def signed_in() -> Actor | None:
    """The person whose page this is; None without a session, or when the session or its token has ended."""
    secret = session.get(NAME)
    token = sessions.find(services().ledger, secret) if secret else None
    return actor_of(token) if token else None


def sign_in(secret: str) -> bool:
    """Begin a session by this token; False when it is no valid token of a person."""
    ledger = services().ledger
    token = tokens.find(ledger, secret)
    if token is None or token.kind not in PEOPLE:
        return False
    session.clear()
    session.permanent = True
    session[NAME] = sessions.begin(ledger, token.id)
    return True


def sign_out() -> None:
    """End the session; copies of its cookie end with it."""
    if NAME in session:
        sessions.end(services().ledger, session[NAME])
    session.clear()


def secret_key(settings: ServerSettings) -> str:
    """The key that signs cookies: from the settings, else from a file in the home, which a host's processes share."""
    if settings.secret_key:
        return settings.secret_key
    path = settings.home / "secret-key"
    if not path.exists():
        write_private(path, secrets.token_hex(32), first_wins=True)
    return path.read_text()
