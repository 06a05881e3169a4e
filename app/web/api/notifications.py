"""Notifications: what one person is told, as a page and over HTTP, with marks for what was read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from app.ledger import events
from app.ledger.events import Notification
from app.web.http import blueprints, htmx
from app.web.http.auth import PEOPLE, caller
from app.web.http.responses import answer, cursor_of, place_of
from app.web.http.schemas import LISTED, LISTED_MOST, Query
from app.web.http.services import services
from app.web.pages.base import page, shared

blueprint = blueprints.group("notifications", reads=PEOPLE, writes=PEOPLE)
pages = Blueprint("notification_pages", __name__)


class NotificationAnswer(BaseModel):
    """One thing that its owner is told."""

    id: str
    kind: str
    job: str | None
    worker: str | None
    sentence: str
    facts: Any
    at: datetime
    read_at: datetime | None


class NotificationList(BaseModel):
    """A page of them, newest first, and how many of all are unread."""

    items: list[NotificationAnswer]
    unread: int
    next: str | None


class Marked(BaseModel):
    """How many were unread until now."""

    marked: int


class NotificationPath(BaseModel):
    """A notification's path."""

    notification: str = Field(max_length=300)


class NotificationsQuery(Query):
    """Which page."""

    cursor: str | None = Field(default=None, max_length=200, description="`next` of the page before")
    limit: int = Field(default=LISTED, ge=1, le=LISTED_MOST)


@dataclass(frozen=True)
class Told:
    """The page."""

    items: tuple[Notification, ...]
    unread: int
    query: str
    next: str | None


@blueprint.get("/notifications", responses={200: NotificationList})
def listed(query: NotificationsQuery) -> Response:
    """List what you were told, newest first."""
    found, more = _page(query.cursor, query.limit)
    items = [NotificationAnswer(**{n: getattr(each, n) for n in NotificationAnswer.model_fields}) for each in found]
    return answer(NotificationList(items=items, unread=_unread(), next=more))


@blueprint.post("/notifications/<path:notification>/read", responses={200: Marked})
def read(path: NotificationPath) -> Response:
    """Mark one as read; nothing happens where it was, or is not yours."""
    return answer(_mark(path.notification))


@blueprint.post("/notifications/read", responses={200: Marked})
def read_all() -> Response:
    """Mark all as read."""
    return answer(_mark(None))


@shared("/notifications")
@page()
def shown() -> ResponseReturnValue:
    """The page."""
    return render_template("notifications/list.html", view=_told())


@pages.get("/ui/notifications")
@page()
def fragment() -> ResponseReturnValue:
    """The part of it that changes."""
    return htmx.fragment("notifications/_list.html", _told())


@pages.post("/ui/notifications/read")
@page()
def mark() -> ResponseReturnValue:
    """Mark the one that the form names, or all, as read."""
    _mark(request.form.get("id") or None)
    return redirect("/notifications", 303)


def _told() -> Told:
    cursor = request.args.get("cursor")
    found, more = _page(cursor, LISTED)
    query = f"?{urlencode({'cursor': cursor})}" if cursor else ""
    return Told(tuple(found), _unread(), query, f"/notifications?cursor={more}" if more else None)


def _page(cursor: str | None, limit: int) -> tuple[list[Notification], str | None]:
    found = events.notifications(services().ledger, caller().owner, place_of(cursor), limit + 1)
    page = found[:limit]
    return page, cursor_of(page[-1].at, page[-1].id) if len(found) > limit else None


def _mark(notification: str | None) -> Marked:
    return Marked(marked=events.mark_read(services().ledger, caller().owner, notification))


def _unread() -> int:
    return events.unread(services().ledger, caller().owner)
