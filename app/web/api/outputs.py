"""A job's outputs: the files of its accepted attempt, listed and fetched, with ranges."""

from __future__ import annotations

from flask import Response
from pydantic import BaseModel

from app.actions import jobs
from app.ledger import jobs as ledger_jobs
from app.ledger.jobs import Result
from app.pool.model import FileFact
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, caller
from app.web.http.responses import answer
from app.web.http.schemas import JobPath, OutputPath
from app.web.http.services import services
from app.web.shapes import outputs

blueprint = blueprints.group("outputs", reads=PEOPLE)


class OutputAnswer(BaseModel):
    """A file that a job gave; `path` is where it lies on hosts that share MUSTER_OUTPUT."""

    name: str
    size: int
    sha256: str
    media_type: str
    path: str


class OutputList(BaseModel):
    """A job's outputs by name."""

    items: list[OutputAnswer]
    next: None = None


@blueprint.get("/jobs/<id:job>/outputs", responses={200: OutputList})
def listed(path: JobPath) -> Response:
    """List the outputs of a job that has succeeded; empty before."""
    job = jobs.find(services().ledger, caller(), path.job)
    result = ledger_jobs.result(services().ledger, job.id)
    return answer(OutputList(items=[_shown(result, file) for file in outputs.files_of(result)] if result else []))


@blueprint.get("/jobs/<id:job>/outputs/<path:name>", responses={200: {"content": {"application/octet-stream": {}}}})
def fetch(path: OutputPath) -> Response:
    """Fetch one output; ranges and conditional requests are understood."""
    return outputs.send(jobs.find(services().ledger, caller(), path.job), path.name)


def _shown(result: Result, file: FileFact) -> OutputAnswer:
    return OutputAnswer(
        name=file.name,
        size=file.size,
        sha256=file.sha256,
        media_type=outputs.media_type_of(file),
        path=str(outputs.folder_of(result) / file.name),
    )
