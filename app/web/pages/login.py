"""Signing in and out, and the choice of light or dark."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from app.web.http import sessions
from app.web.pages.base import THEMES, page

blueprint = Blueprint("login", __name__)
YEAR_S = 365 * 24 * 60 * 60


@blueprint.get("/login")
def form() -> ResponseReturnValue:
    """The login page."""
    return render_template("login/form.html", wrong=None, next=_next())


@blueprint.post("/ui/login/begin")
def begin() -> ResponseReturnValue:
    """Sign in by a token."""
    sessions.csrf.protect()
    if sessions.sign_in(request.form.get("token", "").strip()):
        return redirect(_next(), 303)
    wrong = "This is no token for people, or it has expired or was revoked."
    return render_template("login/form.html", wrong=wrong, next=_next()), 422


@blueprint.post("/ui/login/end")
@page()
def end() -> ResponseReturnValue:
    """Sign out."""
    sessions.sign_out()
    return redirect("/login", 303)


@blueprint.post("/ui/theme/<choice>")
def theme(choice: str) -> ResponseReturnValue:
    """Choose light, dark, or what the system says."""
    sessions.csrf.protect()
    response = redirect(_next(), 303)
    if choice in THEMES:
        response.set_cookie("theme", choice, max_age=YEAR_S, samesite="Lax", httponly=True, secure=request.is_secure)
    else:
        response.delete_cookie("theme")
    return response


def _next() -> str:
    """The path to go to afterwards: one of this server, never an address elsewhere."""
    asked = request.values.get("next", "/")
    ours = asked.startswith("/") and not asked.startswith(("//", "/\\", "/ui/")) and asked.isprintable()
    return asked if ours else "/"
