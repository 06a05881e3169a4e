"""The button that lifts a workflow's hold; fleet and jobs pages show the holds themselves."""

from __future__ import annotations

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue

from app.actions import holds
from app.web.http.auth import caller
from app.web.http.services import services
from app.web.pages.base import page

blueprint = Blueprint("holds_page", __name__)


@blueprint.post("/ui/holds/lift")
@page("admin")
def lift() -> ResponseReturnValue:
    """Let all jobs of the workflow start again, and show the jobs that wait."""
    holds.lift(services(), caller(), request.form.get("workflow", ""))
    return redirect("/jobs?state=pending", 303)
