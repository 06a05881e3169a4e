"""Uploads: kept in the first of the input folders, and proposed by the submit form with the files that lie there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from heapq import nlargest
from itertools import count, islice
from pathlib import Path

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.utils import secure_filename

from app.pool.errors import BadRequest
from app.pool.settings import ServerSettings
from app.web.http.services import services

UPLOAD_BYTES = 4 * 1024**3  # larger files are better copied into the folder than sent through a browser
LISTED = 200
LOOKED_AT = 20_000


def allow_large() -> None:
    """Let this request's body be as large as an upload may be."""
    request.max_content_length = UPLOAD_BYTES


def keep(file: FileStorage) -> Path:
    """The path of the whole upload, under a name that no other file had. Raises BadRequest without a name."""
    name = secure_filename(file.filename or "")
    if not name:
        raise BadRequest("the file needs a name", [("/file", "give it a name of letters and digits")])
    folder = upload_folder(services().settings)
    folder.mkdir(parents=True, exist_ok=True)
    mine = folder / f".upload-{secrets.token_hex(8)}"
    try:
        file.save(mine)
        return _named(mine, folder, name)
    finally:
        mine.unlink(missing_ok=True)


def upload_folder(settings: ServerSettings) -> Path:
    """The folder for uploads: the first input folder, or one in the home when input may lie anywhere."""
    return settings.input_folders[0] if settings.input_folders else settings.home / "input"


def newest_files(settings: ServerSettings) -> list[str]:
    """The paths of the newest files in the input folders; the submit form proposes them."""
    folders = settings.input_folders or (upload_folder(settings),)
    aged = (file for folder in folders for file in islice(_files(folder), LOOKED_AT))
    return [str(path) for _, path in nlargest(LISTED, aged)]


def _named(mine: Path, folder: Path, name: str) -> Path:
    wanted = folder / name
    for number in count(1):
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        try:
            os.link(mine, path)  # fails where a file has that name: two uploads never mix
            return path
        except FileExistsError:
            continue
    raise AssertionError("count ends never")


def _files(folder: Path) -> Iterator[tuple[float, Path]]:
    for place, folders, names in os.walk(folder):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and path.is_file():
                yield path.stat().st_mtime, path
