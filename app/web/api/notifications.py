"""Notifications: what one person is told over HTTP, with marks for what was read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from app.actions import notifications
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, caller
from app.web.http.responses import answer
from app.web.http.schemas import PageQuery
from app.web.http.services import services
from app.web.shapes.notifications import page_of, unread

blueprint = blueprints.group("notifications", reads=PEOPLE, writes=PEOPLE)


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


@blueprint.get("/notifications", responses={200: NotificationList})
def listed(query: PageQuery) -> Response:
    """List what you were told, newest first."""
    page, more = page_of(query.cursor, query.limit)
    items = [NotificationAnswer(**{n: getattr(each, n) for n in NotificationAnswer.model_fields}) for each in page]
    return answer(NotificationList(items=items, unread=unread(), next=more))


@blueprint.post("/notifications/<path:notification>/read", responses={200: Marked})
def read(path: NotificationPath) -> Response:
    """Mark one as read; nothing happens where it was, or is not yours."""
    return answer(_mark(path.notification))


@blueprint.post("/notifications/read", responses={200: Marked})
def read_all() -> Response:
    """Mark all as read."""
    return answer(_mark(None))


def _mark(notification: str | None) -> Marked:
    return Marked(marked=notifications.mark_read(services().ledger, caller(), notification))
