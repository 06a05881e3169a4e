"""The submit page: choose a workflow, fill in what it declares, name or upload its files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.ledger import jobs, workflows
from app.ledger.workflows import Declared
from app.pool.errors import BadRequest
from app.pool.model import JobId, JobSpec, Json
from app.web import files, submit_form
from app.web import jobs as api
from app.web.auth import visible
from app.web.pages import WRITERS, page
from app.web.problems import pointer
from app.web.schemas import IdempotencyHeader, JobBody
from app.web.services import services

blueprint = Blueprint("submit", __name__)
blueprint.before_request(files.allow_large)


@blueprint.get("/submit")
@page(*WRITERS)
def form() -> ResponseReturnValue:
    """The form of the workflow that the URL names, or of the first; ?from= fills in a job's parameters."""
    old = _old()
    chosen = _chosen(request.args.get("workflow") or (old.requirement.workflow if old else None))
    return _page(chosen, old.params if old else {}, {}, old)


@blueprint.post("/ui/jobs/submit")
@page(*WRITERS)
def submit() -> ResponseReturnValue:
    """Submit the form."""
    chosen = _chosen(request.form.get("workflow"))
    if chosen is None:
        return _page(None, {}, {}, None)
    try:
        made = api.submit(IdempotencyHeader.model_validate({"Idempotency-Key": request.form.get("key")}), _body(chosen))
    except BadRequest as error:
        return _page(chosen, submit_form.written(request.form), dict(error.errors), None), 422
    except ValidationError as error:
        wrong = {pointer(each["loc"]): each["msg"].removeprefix("Value error, ") for each in error.errors()}
        return _page(chosen, submit_form.written(request.form), wrong, None), 422
    return redirect(f"/jobs/{made.get_json()['id']}", 303)


def _body(chosen: Declared) -> JobBody:
    written = request.form.copy()
    for name, file in request.files.items():
        if file.filename:
            written[name.replace("f.", "p.", 1)] = str(files.keep(file))
    values = submit_form.params(chosen.workflow, written)
    return JobBody.model_validate(submit_form.body(chosen.workflow.name, values, written))


def _page(chosen: Declared | None, params: Mapping[str, Json], errors: Mapping[str, str], old: JobSpec | None) -> str:
    settings = services().settings
    return render_template(
        "submit/form.html",
        offered=sorted({each.workflow.name for each in workflows.declared(services().ledger)}),
        chosen=chosen,
        fields=submit_form.fields(chosen.workflow, params, errors) if chosen else [],
        errors=errors,
        written=request.form if request.method == "POST" else _written(old),
        known=files.known(settings),
        folder=files.upload_folder(settings),
        limit=files.UPLOAD_BYTES,
        key=secrets.token_hex(16),
        old=old,
    )


def _written(old: JobSpec | None) -> dict[str, object]:
    if old is None:
        return {}
    needs = old.requirement
    return {
        "name": old.name,
        "requires": " ".join(needs.tags),
        "min_vram_mb": needs.min_vram_mb or "",
        "priority": old.priority,
        **({"strict": "on"} if old.strict else {}),
    }


def _chosen(name: str | None) -> Declared | None:
    """The commonest declaration of this workflow; of the first one offered, when none is named."""
    found = workflows.declared(services().ledger, [name] if name else None)
    return found[0] if found else None


def _old() -> JobSpec | None:
    job = request.args.get("from")
    return visible(jobs.find(services().ledger, JobId(job))).spec if job else None
