"""A log as the API shows it: lines, and what stands in the place of lines that are missing."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.ledger.logs import LogGap, LogLine
from app.pool.log.words import STREAM_NAMES
from app.pool.text import storable_text
from app.web.shapes.log_span import Entry


class LineAnswer(BaseModel):
    """A line of an attempt's log."""

    attempt: int
    number: int
    at: datetime = Field(description="by the clock of the worker's host")
    stream: Literal["stdout", "stderr", "muster"]
    line: str = Field(description="as the program wrote it, colours included; what is no UTF-8, and NUL, is replaced")
    redraw: bool = Field(description="the state of a bar, superseded by the next line of its stream")


class MissingLines(BaseModel):
    """How much is not there; bytes of text."""

    lines: int
    bytes: int


class GapAnswer(BaseModel):
    """Lines that are not kept: the middle of a log that was too long, or what a worker could not send."""

    attempt: int
    after: int = Field(description="the number of the line before")
    missing: MissingLines


class LogAnswer(BaseModel):
    """A part of a log, oldest first; `next` is the `after` of the next part where there is one already."""

    items: list[LineAnswer | GapAnswer]
    next: str | None
    closed: bool = Field(description="no further line is awaited; of a search: nothing is left to look through")


def entry_answer(entry: Entry) -> LineAnswer | GapAnswer:
    """An entry of a log as people see it."""
    if isinstance(entry, LogGap):
        return GapAnswer(
            attempt=entry.attempt, after=entry.after, missing=MissingLines(lines=entry.lines, bytes=entry.bytes)
        )
    return _line(entry)


def _line(line: LogLine) -> LineAnswer:
    return LineAnswer(
        attempt=line.attempt,
        number=line.number,
        at=line.at,
        stream=STREAM_NAMES[line.stream],  # type: ignore[arg-type]
        line=storable_text(line.text),
        redraw=line.redraw,
    )
