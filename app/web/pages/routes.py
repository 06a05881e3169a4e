"""Everything that people see in a browser, put on the application."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Flask

from app.pool.settings import ServerSettings
from app.web.http import sessions
from app.web.pages import (
    base,
    fleet,
    groups,
    holds,
    investigation,
    job,
    jobs,
    login,
    notifications,
    queues,
    settings,
    submit,
    worker,
    worker_actions,
)
from app.web.pages.log import views as log_views

TREE = Blueprint(
    "files_of_pages",
    __name__,
    static_folder=str(base.ROOT / "static"),
    static_url_path="/static",
    template_folder=str(base.ROOT / "templates"),
)
PAGES = (
    TREE,
    login.blueprint,
    fleet.blueprint,
    worker.blueprint,
    worker_actions.blueprint,
    jobs.blueprint,
    job.blueprint,
    log_views.blueprint,
    submit.blueprint,
    notifications.blueprint,
    investigation.blueprint,
    settings.blueprint,
    groups.blueprint,
    holds.blueprint,
)
# The API's endpoints that have a page at their path: `Accept: text/html` gives the page.
IN_PLACE: Mapping[str, base.View] = {
    "jobs.listed": jobs.listed,
    "jobs.find": job.shown,
    "notifications.listed": notifications.listed,
}


def install(app: Flask, server: ServerSettings) -> None:
    """Add sessions and pages to an application that has the API."""
    sessions.install(app, server)
    base.install(app, PAGES, IN_PLACE)
    queues.install(app, server)
