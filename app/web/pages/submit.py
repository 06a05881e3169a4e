"""The submit page: choose a workflow, fill in what it declares, name or upload its files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.actions import job_checks, jobs
from app.ledger import groups
from app.ledger.registry import workflows
from app.ledger.registry.workflows import Declaration
from app.pool.model import Job, Json
from app.pool.status import sentence
from app.web.http import uploads
from app.web.http.auth import WRITERS, caller
from app.web.http.forms import REFUSED, Errors, wrong
from app.web.http.schemas import IdempotencyHeader
from app.web.http.services import services
from app.web.pages import submit_form
from app.web.pages.base import page
from app.web.shapes import submission
from app.web.shapes.job_bodies import JobBody, body_of

blueprint = Blueprint("submit", __name__)
blueprint.before_request(uploads.allow_large)


@blueprint.get("/submit")
@page(*WRITERS)
def form() -> ResponseReturnValue:
    """The form of the workflow that the URL names, else of the first; ?from= fills in an earlier job's submission."""
    old = _old()
    chosen = _chosen(request.args.get("workflow") or (old.spec.requirement.workflow if old else None))
    asked = _asked(old)
    return _page(chosen, asked.get("params", {}), submit_form.texts(asked) if asked else {}, {}, old)


@blueprint.post("/ui/jobs/submit")
@page(*WRITERS)
def submit() -> ResponseReturnValue:
    """Submit the form; what it does not ask is taken from the job that is submitted again."""
    chosen, old = _chosen(request.form.get("workflow")), _old()
    if chosen is None:
        return _page(None, {}, {}, {}, None), 422
    written = request.form.copy()
    try:
        _keep_uploads(written)
        body = JobBody.model_validate({**_asked(old), **submit_form.body(chosen.workflow, written)})
        header = IdempotencyHeader.model_validate({"Idempotency-Key": request.form.get("key")})
        answered = submission.submit(header.idempotency_key, body)
    except REFUSED as error:
        errors = submit_form.errors_by_input(wrong(error))
        return _page(chosen, submit_form.written(written), written, errors, old), 422
    for warning in answered.body["warnings"]:
        flash(sentence(warning), "wrong")
    return redirect(f"/jobs/{answered.body['id']}", 303)


def _keep_uploads(written: MultiDict[str, str]) -> None:
    """Keep each upload and write its path into the form, so that a form that is shown again need not send the file."""
    for name, file in request.files.items():
        if file.filename:
            written[name.replace("f.", "p.", 1)] = str(uploads.keep(file))


def _page(
    chosen: Declaration | None,
    params: Mapping[str, Json],
    written: Mapping[str, str],
    errors: Errors,
    old: Job | None,
) -> str:
    ledger, settings = services().ledger, services().settings
    return render_template(
        "submit/form.html",
        offered=sorted({offer.workflow.name for offer in workflows.declared(ledger)}),
        chosen=chosen,
        unknown=_unknown() if chosen is None else None,
        fields=submit_form.fields(chosen.workflow, params, errors) if chosen else [],
        errors=errors,
        written=written,
        groups=sorted({*groups.names(ledger), *([written["group"]] if written.get("group") else [])}),
        known=uploads.newest_files(settings),
        folder=uploads.upload_folder(settings),
        limit=uploads.UPLOAD_BYTES,
        key=secrets.token_hex(16),
        old=old,
        kept=submit_form.kept(_asked(old)),
    )


def _asked(old: Job | None) -> dict[str, Any]:
    """The body that this job was submitted with, its group by its present name; {} for no job.

    A group that is gone keeps its name: the submission is refused, and says so.
    """
    if old is None:
        return {}
    asked = body_of(old)
    group = asked["group"]
    return {**asked, "group": (groups.successor(services().ledger, group) or group) if group else None}


def _chosen(name: str | None) -> Declaration | None:
    """The commonest declaration of this workflow, or its last one; of the first workflow when none is named.

    None where none is known.
    """
    if name:
        return workflows.last_declared(services().ledger, name)
    return next(iter(workflows.declared(services().ledger)), None)


def _unknown() -> str | None:
    """What is said of the workflow that the request names, which nobody has ever declared."""
    name = request.values.get("workflow")
    return job_checks.unknown_workflow(services().ledger, name) if name else None


def _old() -> Job | None:
    job = request.values.get("from")
    return jobs.find(services().ledger, caller(), job) if job else None
