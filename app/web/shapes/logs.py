"""A log as plain text, sent in pieces: of however long a log one portion is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from flask import Response, stream_with_context

from app.ledger.logs import LogGap, LogLine
from app.pool.log.ansi import plain_text
from app.pool.log.bars import Bars
from app.pool.log.words import attempt_head, missing, stamp
from app.web.shapes.log_span import Entry, LogPlace, LogSpan

PIECE_LINES = 1000
TEXT = "text/plain"


def as_text(span: LogSpan, place: LogPlace, timestamps: bool = False, colours: bool = False) -> Response:
    """All that lies beyond this place; of a bar its last state, escapes only with `colours`."""
    several = len(span.attempts) > 1
    name = f"{span.job}.log" if several else f"{span.job}-a{span.attempts[0]}.log"
    pieces = _pieces(_lines(span.all(place), several, timestamps, colours))
    return Response(
        stream_with_context(pieces), mimetype=TEXT, headers={"Content-Disposition": f'inline; filename="{name}"'}
    )


def _lines(entries: Iterable[Entry], heads: bool, timestamps: bool, colours: bool) -> Iterator[str]:
    for attempt, of_attempt in groupby(entries, lambda entry: entry.attempt):
        if heads:
            yield attempt_head(attempt)
        bars = Bars[LogLine]()
        for entry in of_attempt:
            if isinstance(entry, LogGap):
                yield missing(entry.lines, entry.bytes)
            elif line := bars.take(entry.stream, entry.redraw, entry):
                yield _line(line, timestamps, colours)
        for line in bars.pending.values():
            yield _line(line, timestamps, colours)


def _line(line: LogLine, timestamps: bool, colours: bool) -> str:
    text = line.text if colours else plain_text(line.text)
    return f"{stamp(line.at)} {text}" if timestamps else text


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    """The lines in blocks: a server sends each piece by itself."""
    block: list[str] = []
    for line in lines:
        block.append(line)
        if len(block) == PIECE_LINES:
            yield "\n".join([*block, ""])
            block.clear()
    yield "\n".join([*block, ""]) if block else ""
