"""The page of notifications: what one person is told, with marks for what was read."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from app.actions import notifications
from app.ledger.events import Notification
from app.web.http import htmx
from app.web.http.auth import caller
from app.web.http.schemas import LISTED
from app.web.http.services import services
from app.web.pages.base import page
from app.web.shapes.notifications import page_of, unread

blueprint = Blueprint("notification_pages", __name__)


@dataclass(frozen=True)
class NotificationsView:
    """A page of notifications; `query` leads to the same page, `next` to the one after it."""

    items: tuple[Notification, ...]
    unread: int
    query: str
    next: str | None


@page()
def listed() -> ResponseReturnValue:
    """The page of notifications."""
    return render_template("notifications/list.html", view=_view())


@blueprint.get("/ui/notifications")
@page()
def fragment() -> ResponseReturnValue:
    """The part of the page that changes."""
    return htmx.fragment("notifications/_list.html", _view())


@blueprint.post("/ui/notifications/read")
@page()
def mark() -> ResponseReturnValue:
    """Mark the notification that the form names, or all, as read."""
    notifications.mark_read(services().ledger, caller(), request.form.get("id") or None)
    return redirect("/notifications", 303)


def _view() -> NotificationsView:
    cursor = request.args.get("cursor")
    rows, more = page_of(cursor, LISTED)
    query = f"?{urlencode({'cursor': cursor})}" if cursor else ""
    return NotificationsView(tuple(rows), unread(), query, f"/notifications?cursor={more}" if more else None)
