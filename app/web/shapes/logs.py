"""The whole log of an attempt as plain text, sent in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response

from app.ledger import attempts
from app.ledger.db import Ledger
from app.pool.model import JobId

CHUNK_LINES = 1000


def whole(ledger: Ledger, job: JobId, attempt: int, after: int = 0) -> Response:
    """The lines of an attempt's log after this number, as plain text."""
    headers = {"Content-Disposition": f'inline; filename="{job}-a{attempt}.log"'}
    return Response(_texts(ledger, job, attempt, after), mimetype="text/plain", headers=headers)


def _texts(ledger: Ledger, job: JobId, attempt: int, after: int) -> Iterator[str]:
    while lines := attempts.log_lines(ledger, job, attempt, after, CHUNK_LINES):
        yield "".join(f"{line.line}\n" for line in lines)
        after = lines[-1].number
