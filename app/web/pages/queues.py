"""rq-dashboard under /queues/, for admins: a look into the workers' queues.

Its buttons may empty, delete and requeue as they like: RQ holds envelopes only. When an envelope disappears, its
attempt is given out anew; when one is put back, its claim is refused.
"""

from __future__ import annotations

from functools import partial

import redis
from flask import Flask, Response, request, send_file
from flask_wtf.csrf import generate_csrf
from rq.serializers import JSONSerializer
from rq_dashboard import web as dashboard

from app.pool import redis_client
from app.pool.settings import ServerSettings
from app.web.pages import base

PREFIX = "/queues"
NAME = dashboard.blueprint.name
# Its pages carry inline scripts, and templates that the browser compiles; no other path may.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval'; img-src 'self' data:; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)


def install(app: Flask, settings: ServerSettings) -> None:
    """Put rq-dashboard on the application, behind the guard of admins."""
    app.config["RQ_DASHBOARD_REDIS_URL"] = settings.rq_redis_url
    dashboard.config.serializer = JSONSerializer
    dashboard.setup_rq_connection(app)
    # Its pages ask for url_for('static', …) of the application, for an icon.
    app.add_url_rule(
        f"{PREFIX}/icon/<path:filename>", "static", lambda filename: send_file(base.ROOT / "static/muster.svg")
    )
    queues = redis_client.client(settings.rq_redis_url, redis_client.PAGE_S, repeats=1)
    app.before_request(partial(_guard, queues))
    app.after_request(_loosen)
    app.register_blueprint(dashboard.blueprint, url_prefix=PREFIX)


def _guard(queues: redis.Redis) -> Response | None:
    """None for an admin, else the answer that refuses the request.

    Raises RedisError when RQ's Redis is away, where rq-dashboard itself would answer 200.
    """
    if request.blueprint != NAME:
        return None
    if request.endpoint == f"{NAME}.requeue_all" and request.method != "POST":
        return base.error_page(405, "Requeueing changes queues: only POST may.")
    refused = base.admit(("admin",))
    if refused is None:
        queues.ping()
    return refused


def _loosen(response: Response) -> Response:
    if request.blueprint == NAME:
        response.headers["Content-Security-Policy"] = POLICY
        if response.status_code == 200 and response.mimetype == "text/html":
            # Its scripts send this back as X-CSRFToken, so they must be able to read it.
            response.set_cookie("_csrf_token", generate_csrf(), path=PREFIX, samesite="Lax", secure=request.is_secure)
    return response
