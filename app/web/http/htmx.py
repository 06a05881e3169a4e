"""Fragments for htmx: the only place that knows its headers.

A fragment's ETag is made from the values that it shows, not from its HTML. The browser computes ages, so while no
value changes the answer is 304 and nothing is rendered.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from threading import Lock
from typing import cast

import htmx_flask
from flask import Flask, Response, redirect, render_template
from flask import request as plain_request
from htmx_flask import request

RENDERED_MOST = 128  # a page of 100 workers is about 100 kB

_lock = Lock()
_rendered: OrderedDict[str, str] = OrderedDict()


def install(app: Flask) -> None:
    """Let the application's requests know htmx's headers."""
    htmx_flask.Htmx(app)


def fragment(template: str, view: object) -> Response:
    """The fragment of this view (frozen facts, all that the template reads), or 304 when the browser has it."""
    tag = hashlib.sha256(f"{template} {view!r}".encode()).hexdigest()[:24]
    # `plain_request`: htmx_flask's own name for the request hides werkzeug's types.
    unchanged = plain_request.if_none_match.contains_weak(tag)
    response = Response(status=304) if unchanged else Response(_html(tag, template, view), mimetype="text/html")
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(("Cookie", "HX-Request"))
    return response


def into(target: str, html: str, swap: str = "innerHTML") -> Response:
    """This HTML, put there whatever the request's element named."""
    return Response(html, mimetype="text/html", headers={"HX-Retarget": target, "HX-Reswap": swap})


def go_to(url: str) -> Response:
    """Send the browser's whole page to this URL, even when it asked for a fragment only."""
    if not request.htmx:
        return cast(Response, redirect(url, 303))
    return Response(status=401, headers={"HX-Redirect": url})


def _html(tag: str, template: str, view: object) -> str:
    with _lock:
        if tag in _rendered:
            _rendered.move_to_end(tag)
            return _rendered[tag]
    html = render_template(template, view=view)
    with _lock:
        _rendered[tag] = html
        while len(_rendered) > RENDERED_MOST:
            _rendered.popitem(last=False)
    return html
