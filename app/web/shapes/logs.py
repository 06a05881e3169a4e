"""The whole log of an attempt as plain text, sent in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response

from app.ledger import logs
from app.ledger.db import Ledger
from app.ledger.logs import LogLine
from app.pool.model import JobId


def whole(ledger: Ledger, job: JobId, attempt: int, after: int = 0) -> Response:
    """The lines of an attempt's log after this number, as plain text."""
    headers = {"Content-Disposition": f'inline; filename="{job}-a{attempt}.log"'}
    return Response(_texts(ledger, job, attempt, after), mimetype="text/plain", headers=headers)


def _texts(ledger: Ledger, job: JobId, attempt: int, after: int) -> Iterator[str]:
    for entry in logs.entries_after(ledger, job, attempt, after):
        yield f"{entry.text}\n" if isinstance(entry, LogLine) else f"… {entry.lines:,} lines are missing here …\n"
