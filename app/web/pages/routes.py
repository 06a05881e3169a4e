"""Everything that people see in a browser, put on the application."""

from __future__ import annotations

from flask import Blueprint
from flask_openapi3.openapi import OpenAPI

from app.pool.settings import ServerSettings
from app.web.api import checkpoints, investigations, notifications, settings, worker_history, worker_metrics
from app.web.http import files, sessions
from app.web.pages import base, fleet, groups, investigation, job, jobs, login, queues, submit, worker, worker_actions
from app.web.pages import settings as settings_page

TREE = Blueprint(
    "face",
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
    submit.blueprint,
    notifications.pages,
    investigation.blueprint,
    settings_page.blueprint,
    groups.blueprint,
)
GROUPS = (
    worker_history.blueprint,
    worker_metrics.blueprint,
    files.blueprint,
    notifications.blueprint,
    checkpoints.blueprint,
    investigations.blueprint,
    settings.blueprint,
)


def install(app: OpenAPI, server: ServerSettings) -> None:
    """Add sessions, pages, and what the API has for them."""
    sessions.install(app, server)
    base.install(app, PAGES)
    queues.install(app, server)
    for group in GROUPS:
        app.register_api(group)
