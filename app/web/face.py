"""Everything that people see in a browser, put on the application."""

from __future__ import annotations

from flask import Blueprint
from flask_openapi3.openapi import OpenAPI

from app.pool.settings import ServerSettings
from app.web import (
    files,
    fleet,
    job_list,
    job_page,
    login,
    notifications,
    pages,
    queues,
    sessions,
    submit,
    worker_history,
    worker_page,
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
    job_list.blueprint,
    job_page.blueprint,
    submit.blueprint,
    notifications.pages,
)
GROUPS = (worker_history.blueprint, files.blueprint, notifications.blueprint)


def install(app: OpenAPI, settings: ServerSettings) -> None:
    """Add sessions, pages, and what the API has for them."""
    sessions.install(app, settings)
    pages.install(app, PAGES)
    queues.install(app, settings)
    for group in GROUPS:
        app.register_api(group)
