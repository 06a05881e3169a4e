"""A job's outputs: the files of its accepted attempt, listed and fetched, with ranges."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from flask import Response, abort, send_file
from pydantic import BaseModel

from app.ledger import jobs
from app.ledger.jobs import Result
from app.pool.codec import from_plain
from app.pool.model import FileFact, JobId
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, visible
from app.web.http.responses import answer
from app.web.http.schemas import JobPath, OutputPath
from app.web.http.services import services

SHOWN = ("image/", "video/", "audio/")  # a browser may show these; all else is downloaded
NEVER_SHOWN = ("image/svg+xml",)  # may carry scripts

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
    result = _result(path)
    files = _files(result) if result else ()
    return answer(OutputList(items=[_shown(result, file) for file in files if result]))


@blueprint.get("/jobs/<id:job>/outputs/<path:name>", responses={200: {"content": {"application/octet-stream": {}}}})
def fetch(path: OutputPath) -> Response:
    """Fetch one output; ranges and conditional requests are understood."""
    result = _result(path)
    # Only names that the accepted end reported: no name of a request ever becomes a path.
    file = next((file for file in _files(result) if file.name == path.name), None) if result else None
    if result is None or file is None:
        abort(404, "the job has no such output")
    place = _place(result, file)
    if not place.is_file():
        abort(404, "the file has been removed from MUSTER_OUTPUT")
    media_type = _media_type(file)
    shown = media_type.startswith(SHOWN) and media_type not in NEVER_SHOWN
    return send_file(place, media_type, as_attachment=not shown, conditional=True, etag=file.sha256)


def _result(path: JobPath) -> Result | None:
    job = visible(jobs.find(services().ledger, JobId(path.job)))
    return jobs.result(services().ledger, job.id)


def _files(result: Result) -> tuple[FileFact, ...]:
    return from_plain(tuple[FileFact, ...], result.outputs)


def _place(result: Result, file: FileFact) -> Path:
    folder = services().settings.output_folder / result.job / f"a{result.attempt}"
    place = (folder / file.name).resolve()
    if not place.is_relative_to(folder.resolve()):  # a link that the workflow left behind
        abort(404, "this output points outside of the job's folder")
    return place


def _shown(result: Result, file: FileFact) -> OutputAnswer:
    return OutputAnswer(
        name=file.name,
        size=file.size,
        sha256=file.sha256,
        media_type=_media_type(file),
        path=str(services().settings.output_folder / result.job / f"a{result.attempt}" / file.name),
    )


def _media_type(file: FileFact) -> str:
    return file.media_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
