"""The web application: its settings, the handlers that every request passes, its groups of paths."""

from __future__ import annotations

from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from werkzeug.routing import BaseConverter

from app.pool.model import TAG
from app.pool.settings import ServerSettings
from app.web.api import (
    agent_logs,
    agents,
    batch,
    checkpoints,
    files,
    groups,
    health,
    holds,
    investigations,
    jobs,
    logs,
    metrics,
    notifications,
    outputs,
    settings,
    tokens,
    why,
    worker_actions,
    worker_history,
    worker_metrics,
    worker_setup,
    workers,
    workflows,
)
from app.web.http import blueprints, headers, problems
from app.web.http.schemas import ID_PATTERN
from app.web.http.services import EXTENSION, open_services
from app.web.http.strict_json import BODY_BYTES, StrictJson
from app.web.pages import routes

VERSION = "1"
GROUPS = (
    jobs.blueprint,
    why.blueprint,
    batch.blueprint,
    logs.blueprint,
    outputs.blueprint,
    workflows.blueprint,
    workers.blueprint,
    worker_setup.blueprint,
    worker_actions.blueprint,
    groups.blueprint,
    holds.blueprint,
    tokens.blueprint,
    agents.offers,
    agents.confirmations,
    agent_logs.blueprint,
    health.blueprint,
    metrics.blueprint,
    worker_history.blueprint,
    worker_metrics.blueprint,
    files.blueprint,
    notifications.blueprint,
    checkpoints.blueprint,
    investigations.blueprint,
    settings.blueprint,
)


class IdConverter(BaseConverter):
    """An id in a path; with any other text in its place the path does not exist."""

    regex = ID_PATTERN


class GroupConverter(BaseConverter):
    """A group's name in a path."""

    regex = TAG.strip("^$")


def create_app(server: ServerSettings, threads: int = 8) -> OpenAPI:
    """The application over the stores that `server` names, for `threads` requests at once; it connects to none yet."""
    app = OpenAPI(
        __name__,
        info=Info(title="Muster", version=VERSION, description="A GPU worker pool: jobs, workers, tokens."),
        security_schemes=blueprints.BEARER,  # type: ignore[arg-type]
        validation_error_model=problems.Problem,
        validation_error_callback=problems.invalid,
        static_folder=None,
    )
    app.json = StrictJson(app)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.url_map.converters["id"] = IdConverter
    app.url_map.converters["group"] = GroupConverter
    app.extensions[EXTENSION] = open_services(server, threads)
    problems.install(app)
    headers.install(app)
    for group in GROUPS:
        app.register_api(group)
    routes.install(app, server)
    return app
