"""Notifications as lists page through them, and the marks for what was read."""

from __future__ import annotations

from app.ledger import events
from app.ledger.events import Notification
from app.web.http.auth import caller
from app.web.http.responses import cursor_of, first_page, place_of
from app.web.http.services import services


def page_of(cursor: str | None, limit: int) -> tuple[list[Notification], str | None]:
    """A page of what the caller was told, newest first, and the cursor of the next page."""
    rows = events.notifications(services().ledger, caller().name, place_of(cursor), limit + 1)
    return first_page(rows, limit, lambda last: cursor_of(last.at, last.id))


def unread() -> int:
    """How many of the caller's notifications nobody has marked as read."""
    return events.unread(services().ledger, caller().name)
