"""Everything that people see in a browser, put on the application."""

from __future__ import annotations

from flask import Blueprint
from flask_openapi3.openapi import OpenAPI

from app.pool.settings import ServerSettings
from app.web import (
    checkpoints,
    files,
    fleet,
    groups_page,
    investigation_page,
    investigations,
    job_list,
    job_page,
    login,
    notifications,
    pages,
    queues,
    sessions,
    settings,
    settings_page,
    submit,
    worker_history,
    worker_metrics,
    worker_page,
    worker_verbs,
)

TREE = Blueprint(
    "face",
    __name__,
    static_folder=str(pages.ROOT / "static"),
    static_url_path="/static",
    template_folder=str(pages.ROOT / "templates"),
)
PAGES = (
    TREE,
    login.blueprint,
    fleet.blueprint,
    worker_page.blueprint,
    worker_verbs.blueprint,
    job_list.blueprint,
    job_page.blueprint,
    submit.blueprint,
    notifications.pages,
    investigation_page.blueprint,
    settings_page.blueprint,
    groups_page.blueprint,
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
    pages.install(app, PAGES)
    queues.install(app, server)
    for group in GROUPS:
        app.register_api(group)
