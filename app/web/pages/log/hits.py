"""What a search of the log found, as the job's page lists it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

from app.ledger.logs import LogLine
from app.pool.errors import BadRequest
from app.pool.log.ansi import plain_text
from app.pool.model import LIMITS
from app.web.pages.log.request import LogRequest
from app.web.shapes.log_span import place_of, written

HITS = 100  # at most of one look
BY_ITSELF = 200  # so many hits are looked for without a further click
SHOWN = 300  # characters of a line
BEFORE = 60  # characters before the words, where a line is longer


@dataclass(frozen=True)
class Hit:
    """A line that holds the words."""

    place: str
    attempt: int
    number: int
    html: Markup


@dataclass(frozen=True)
class Hits:
    """The hits of one look; `onward` is the place where the next one goes on, None where all was looked through."""

    key: str
    text: str
    rows: tuple[Hit, ...]
    found: int  # with those of the looks before
    looked: int  # the number of the last line that was looked at
    onward: str | None
    by_itself: bool
    several: bool


def look(request: LogRequest, asked: Mapping[str, str]) -> Hits:
    """Look for the words of this query, from its place. Raises BadRequest."""
    text = asked.get("search", "").strip()
    if not 0 < len(text) <= LIMITS.text_characters:
        raise BadRequest(f"look for 1 to {LIMITS.text_characters} characters")
    start = place_of(asked.get("from") or written(request.span.beginning), request.span.attempts[0])
    part, onward = request.span.search(text, start, HITS)
    before = asked.get("found", "0")
    found = len(part.lines) + (int(before[:9]) if before.isascii() and before.isdigit() else 0)
    return Hits(
        key=request.key,
        text=text,
        rows=tuple(_hit(line, text) for line in part.lines),
        found=found,
        looked=part.looked,
        onward=written(onward) if part.more else None,
        by_itself=found < BY_ITSELF,
        several=len(request.span.attempts) > 1,
    )


def _hit(line: LogLine, words: str) -> Hit:
    text = plain_text(line.text)
    at = text.lower().find(words.lower())
    begin = max(0, at - BEFORE) if len(text) > SHOWN else 0
    shown = ("…" if begin else "") + text[begin : begin + SHOWN]
    pieces = re.split(f"({re.escape(words)})", shown, flags=re.IGNORECASE)
    marked = (Markup("<mark>{}</mark>").format(piece) if n % 2 else escape(piece) for n, piece in enumerate(pieces))
    return Hit(written((line.attempt, line.number)), line.attempt, line.number, Markup("").join(marked))
