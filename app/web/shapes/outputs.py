"""A job's outputs: the files of its accepted attempt, as they lie in the output folder."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from flask import Response, send_file

from app.actions.errors import Missing
from app.ledger import jobs
from app.ledger.jobs import Result
from app.pool.codec import from_plain
from app.pool.model import FileFact, Job
from app.pool.settings import folder_of_attempt
from app.web.http.services import services

SHOWN = ("image", "video", "audio")  # a browser may show these; all else is downloaded
NEVER_SHOWN = ("image/svg+xml",)  # may carry scripts


def files_of(result: Result) -> tuple[FileFact, ...]:
    """The files that the accepted end reported."""
    return from_plain(tuple[FileFact, ...], result.outputs)


def folder_of(result: Result) -> Path:
    """Where these files lie, on every host that shares MUSTER_OUTPUT."""
    return folder_of_attempt(services().settings.output_folder, result.job, result.attempt)


def media_type_of(file: FileFact) -> str:
    """The type that the workflow named, else the one that the file's name says."""
    return file.media_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def shown_as(media_type: str) -> str | None:
    """How a browser may show a file of this type: as image, video or audio; None for what it may only download."""
    kind = media_type.partition("/")[0]
    return kind if kind in SHOWN and media_type not in NEVER_SHOWN else None


def send(job: Job, name: str) -> Response:
    """The answer with one output; it serves ranges and conditional requests. Raises Missing."""
    result = jobs.result(services().ledger, job.id)
    # Only names that the accepted end reported: no name of a request ever becomes a path.
    file = next((file for file in files_of(result) if file.name == name), None) if result else None
    if result is None or file is None:
        raise Missing("the job has no such output")
    place = _place(result, file)
    if not place.is_file():
        raise Missing("the file has been removed from MUSTER_OUTPUT")
    media_type = media_type_of(file)
    attached = shown_as(media_type) is None
    return send_file(place, media_type, as_attachment=attached, conditional=True, etag=file.sha256)


def _place(result: Result, file: FileFact) -> Path:
    folder = folder_of(result)
    place = (folder / file.name).resolve()
    if not place.is_relative_to(folder.resolve()):  # a link that the workflow left behind
        raise Missing("this output points outside of the job's folder")
    return place
