"""The web process: gunicorn with threads. One worker process unless WEB_CONCURRENCY says otherwise."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from app.pool.pickles import refuse_pickle
from app.pool.settings import ServerSettings
from app.web.app import create_app
from app.web.http.services import EXTENSION

THREADS = 8
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
LOGS = "/agent/v1/logs/"
REFUSED = 400  # and above, of HTTP's status codes
# Longer than an open page waits between two polls: a request on a connection that is just closing must be repeated.
KEEPALIVE_S = 10
GRACE_S = 2  # `up` and supervisors wait for 3 s
ACCESS_LOG = "%(h)s %(m)s %(U)s %(s)s %(B)sB %(M)sms"  # %(U)s has no query: a token may stand there


class Web(BaseApplication):  # type: ignore[misc]
    """Gunicorn, set up in code. Each worker process makes the application after the fork."""

    def __init__(self, bind: str, port: int, settings: ServerSettings) -> None:
        self._address = f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}"
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn up; called by gunicorn. All else keeps gunicorn's defaults, WEB_CONCURRENCY among them."""
        options = {
            "bind": self._address,
            "worker_class": "gthread",
            "threads": THREADS,
            "keepalive": KEEPALIVE_S,
            "graceful_timeout": GRACE_S,
            "control_socket_disable": True,
            "accesslog": "-",
            "logger_class": ChangesOnly,
            "access_log_format": ACCESS_LOG,
            "proc_name": "muster-web",
            "post_fork": _end_with_parent,
            "worker_exit": _close,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application of this worker process; called by gunicorn."""
        refuse_pickle()  # rq-dashboard fetches envelopes with RQ's default serializer
        return create_app(self._settings, THREADS)


class ChangesOnly(Logger):  # type: ignore[misc]
    """An access log of requests that may have changed something or were refused.

    Open pages poll too often for it, and agents send too many portions of logs.
    """

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Log this request if it belongs into the log; called by gunicorn after each answer."""
        often = req.method in ("GET", "HEAD") or req.path.startswith(LOGS)
        if not often or resp.status_code >= REFUSED:
            super().access(resp, req, environ, request_time)


def main(bind: str, port: int, settings: ServerSettings) -> None:
    """Serve until SIGTERM; running requests then have GRACE_S seconds to end."""
    Web(bind, port, settings).run()


def _end_with_parent(_server: Any, worker: Any) -> None:
    # Gunicorn looks for its parent once a second; until then the orphan would keep the port from others.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != worker.ppid:  # it died before we had asked
        os._exit(1)


def _close(_server: Any, worker: Any) -> None:
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.extensions[EXTENSION].close()
