"""Files over HTTP: an upload that jobs may name by its path."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.file import FileStorage
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, ConfigDict

from app.web.http import auth, blueprints, uploads
from app.web.http.auth import WRITERS
from app.web.http.responses import answer

blueprint = APIBlueprint(
    "files",
    __name__,
    abp_tags=[Tag(name="files")],
    abp_security=[{"bearer": []}],
    abp_responses={status: blueprints.problem_response() for status in (400, 401, 403, 413, 415, 422, 503)},
)
auth.guard(blueprint, reads=WRITERS, writes=WRITERS)
blueprint.before_request(uploads.allow_large)


class UploadForm(BaseModel):
    """A file to be kept in the input folder."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    file: FileStorage


class FileAnswer(BaseModel):
    """A file that jobs may name by its path."""

    name: str
    path: str
    size: int


@blueprint.post("/files", responses={201: FileAnswer})
def upload(form: UploadForm) -> Response:
    """Upload a file; a job names it by the path that is answered."""
    path = uploads.keep(form.file)
    return answer(FileAnswer(name=path.name, path=str(path), size=path.stat().st_size), 201)
