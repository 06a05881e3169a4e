"""The log as the job's page shows it: chunks of lines as HTML, and what there is before and after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from app.ledger.logs import LogLine
from app.pool.log.ansi import PLAIN, Pen
from app.pool.log.bars import Bars
from app.pool.log.words import STREAM_NAMES, missing
from app.web.pages.log.html import line_html
from app.web.shapes.log_span import Entry, LogPlace, place_before, written

LINES = 500  # of a chunk
AROUND = 150  # lines before and after one that a person jumps to
BARRED = ("o", "e")  # the streams that may have a bar


@dataclass(frozen=True)
class LineRow:
    """A line, or words in the place of lines; `at` is None for words."""

    id: str
    html: Markup
    at: datetime | None = None
    stream: str = ""  # only where it is not standard output
    hit: bool = False  # the one that a person jumped to


@dataclass(frozen=True)
class Chunk:
    """Consecutive lines; `earlier` is the place before them where there is more, None at the beginning."""

    rows: tuple[LineRow, ...]
    earlier: str | None
    later: str


@dataclass(frozen=True)
class LogParts:
    """A chunk and the end of the log: `bars` by stream, None where a bar is gone; streams of which nothing is new lack.

    `state` is live (polled for more), closed (nothing more comes) or later (there is more, of which nobody asked yet).
    """

    key: str  # the attempt, or "all"
    chunk: Chunk
    bars: dict[str, LineRow | None]
    state: str
    newer: int | None  # the attempt that the job went on with, where another's log is shown


def chunk_of(
    entries: Sequence[Entry], beyond: LogPlace, earlier: bool, several: bool, hit: LogPlace | None = None
) -> tuple[Chunk, dict[str, LineRow | None]]:
    """The chunk of these entries, and what has become of the bars of their streams; `beyond` is where they end."""
    rows: list[LineRow] = []
    bars, pens = Bars[LogLine](), dict[str, Pen]()
    seen: set[str] = set()
    for entry in entries:
        if several and place_before(entry)[1] == 1:
            rows.extend(_row(bar, pens) for bar in bars.pending.values())
            bars, pens = Bars[LogLine](), {}
            seen = {*BARRED}
            rows.append(LineRow(f"attempt-{entry.attempt}-log", Markup("Attempt {}").format(entry.attempt)))
        if not isinstance(entry, LogLine):
            rows.append(_gap(entry.attempt, entry.after, missing(entry.lines, entry.bytes)))
            continue
        seen.add(entry.stream)
        if line := bars.take(entry.stream, entry.redraw, entry):
            rows.append(_row(line, pens, hit == (line.attempt, line.number)))
    start = written(place_before(entries[0])) if entries and earlier else None
    left = {stream: bars.pending.get(stream) for stream in BARRED if stream in seen}
    shown = {stream: _row(bar, pens) if bar else None for stream, bar in left.items()}
    return Chunk(tuple(rows), start, written(beyond)), shown


def _gap(attempt: int, after: int, words: str) -> LineRow:
    return LineRow(f"gap-{attempt}-{after}", Markup.escape(words))


def _row(line: LogLine, pens: dict[str, Pen], hit: bool = False) -> LineRow:
    # Colours go on from line to line of a stream, as on a terminal; at a chunk's beginning none is known.
    html, pens[line.stream] = line_html(line.text, pens.get(line.stream, PLAIN))
    name = STREAM_NAMES[line.stream] if line.stream != "o" else ""
    return LineRow(f"line-{line.attempt}-{line.number}", html, line.at, name, hit)
