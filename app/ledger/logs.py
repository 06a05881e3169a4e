"""Logs of attempts: portions are stored as their agents sent them, once each, and read line by line.

Of a log that is longer than what is kept the middle goes: the beginning tells how a program was set up, the end why it
failed. Who reads is told how much is missing, and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum

from app.ledger.db import Ledger, Row
from app.pool.codec import plain
from app.pool.log.ansi import plain_text, without_escapes
from app.pool.log.portion import MOST_BYTES, PortionHead, PortionLine, Stream, line_of, numbered, unpacked
from app.pool.model import JobId, WorkerId

PATIENCE_S = 60  # an agent sends the last of a log within seconds of the attempt's end
LOOK_BYTES = 8 * 1024 * 1024  # of text: what one look of a search goes through, in about a tenth of a second
HEADS_AT_ONCE = 500  # of portions, which are read together; their data is read in groups


@dataclass(frozen=True)
class LogLine:
    """A line of an attempt's log; numbers begin at 1 and never repeat."""

    attempt: int
    number: int
    at: datetime  # by the clock of the worker's host
    stream: Stream
    redraw: bool  # the state of a bar, superseded by the next line of its stream
    text: str


@dataclass(frozen=True)
class LogGap:
    """Lines that are not there: the middle of a log that was too long, or what an agent could not send."""

    attempt: int
    after: int  # number of the line before
    lines: int
    bytes: int


@dataclass(frozen=True)
class LogPart:
    """Consecutive entries of a log, oldest first; `more` says whether the log goes on after them."""

    entries: tuple[LogLine | LogGap, ...]
    more: bool


@dataclass(frozen=True)
class SearchPart:
    """Lines that were found, oldest first; all up to line `looked` have been looked at, and `more` may follow."""

    lines: tuple[LogLine, ...]
    looked: int
    more: bool


class StoreOutcome(Enum):
    """What became of a portion."""

    NOW = "now"
    BEFORE = "before"  # it came twice
    UNKNOWN = "unknown"  # this worker has had no such attempt


def store(
    ledger: Ledger, job: JobId, attempt: int, worker: WorkerId, head: PortionHead, data: bytes, kept_bytes: int
) -> StoreOutcome:
    """Store a portion of an attempt of this worker, and drop from the middle what is more than `kept_bytes` of text."""
    named = {"job": job, "attempt": attempt}
    if ledger.do("log_store", worker=worker, data=data, **plain(head), **named):
        ledger.do("log_trim", half=kept_bytes // 2, **named)
        return StoreOutcome.NOW
    known = ledger.one("log_stored", number=head.number, worker=worker, **named)
    return StoreOutcome.BEFORE if known else StoreOutcome.UNKNOWN


def read(ledger: Ledger, job: JobId, attempt: int, after: int = 0, limit: int = 1000) -> LogPart:
    """Up to `limit` entries of an attempt's log beyond line `after`."""
    entries: list[LogLine | LogGap] = []
    for entry in entries_after(ledger, job, attempt, after):
        if len(entries) == limit:
            return LogPart(tuple(entries), True)
        entries.append(entry)
    return LogPart(tuple(entries), False)


def length(ledger: Ledger, job: JobId, attempt: int) -> int:
    """The number of the last line of an attempt; 0 where there is none."""
    row = ledger.one("log_length", job=job, attempt=attempt)
    return row["lines"] if row else 0


def before(ledger: Ledger, job: JobId, attempt: int, number: int, limit: int = 100) -> LogPart:
    """The last entries of an attempt before line `number`, about `limit`; a gap among them is whole.

    `more` says whether the log goes on before them.
    """
    row = ledger.one("log_kept_until", job=job, attempt=attempt, line=number - 1 - limit)
    start = row["line"] if row else 0
    entries = read(ledger, job, attempt, start, limit + 1).entries
    return LogPart(tuple(entry for entry in entries if place(entry) < number), start > 0)


def place(entry: LogLine | LogGap) -> int:
    """The number of a line, of a gap that of its first one."""
    return entry.number if isinstance(entry, LogLine) else entry.after + 1


def is_closed(ledger: Ledger, job: JobId, attempt: int) -> bool:
    """Whether nothing more is awaited: its end is there, or the attempt ended too long ago for its agent to live."""
    row = ledger.one("log_is_closed", job=job, attempt=attempt, patience_s=PATIENCE_S)
    return row is not None and row["closed"]


def entries_after(ledger: Ledger, job: JobId, attempt: int, after: int = 0) -> Iterator[LogLine | LogGap]:
    """All entries of an attempt's log beyond line `after`, about a portion's bytes of it in memory at a time."""
    more = True
    while more:
        more = False
        for head, data in _portions(ledger, job, attempt, after):
            if head["first_line"] > after + 1:
                missing = head["first_line"] - after - 1
                yield LogGap(attempt, after, missing, max(0, head["first_byte"] - head["gap_from_byte"]))
            yield from _lines(attempt, head, data, after)
            after, more = head["first_line"] + head["lines"] - 1, True


def search(
    ledger: Ledger,
    job: JobId,
    attempt: int,
    text: str,
    after: int = 0,
    limit: int = 100,
    within_bytes: int = LOOK_BYTES,
) -> SearchPart:
    """Up to `limit` lines beyond `after` that hold this text, among the next `within_bytes` of the log and a bit.

    What a reader sees is compared: colours and letters' case do not matter, states of bars are not found.
    """
    found: list[LogLine] = []
    words, left = text.lower(), within_bytes
    for head, data in _portions(ledger, job, attempt, after):
        if left <= 0:
            return SearchPart(tuple(found), after, True)
        for line in _matches(attempt, head, data, words, after):
            found.append(line)
            if len(found) == limit:
                return SearchPart(tuple(found), line.number, True)
        after = head["first_line"] + head["lines"] - 1
        left -= head["bytes"]
    return SearchPart(tuple(found), after, after < length(ledger, job, attempt))


def _portions(ledger: Ledger, job: JobId, attempt: int, after: int) -> Iterator[tuple[Row, bytes]]:
    """The next portions, at most HEADS_AT_ONCE, that hold lines beyond `after`; none when the log ends there.

    One that is trimmed meanwhile is left out: the next head's gap tells of it.
    """
    heads = ledger.all("log_portions_after", job=job, attempt=attempt, after=after, limit=HEADS_AT_ONCE)
    for group in _groups(heads):
        numbers = [head["number"] for head in group]
        rows = ledger.all("log_data", job=job, attempt=attempt, numbers=numbers)
        data = {row["number"]: bytes(row["data"]) for row in rows}
        yield from ((head, data[head["number"]]) for head in group if head["number"] in data)


def _groups(heads: Sequence[Row]) -> Iterator[list[Row]]:
    """The heads in groups that have together no more bytes than one portion may have."""
    group: list[Row] = []
    size = 0
    for head in heads:
        if group and size + head["bytes"] > MOST_BYTES:
            yield group
            group, size = [], 0
        group.append(head)
        size += head["bytes"]
    if group:
        yield group


def _lines(attempt: int, head: Row, data: bytes, after: int) -> Iterator[LogLine]:
    first = head["first_line"]
    for place, line in numbered(data, max(0, after + 1 - first)):
        yield _log_line(attempt, first + place, line)


def _log_line(attempt: int, number: int, line: PortionLine) -> LogLine:
    """The line of a portion at its place in the log."""
    at = datetime.fromtimestamp(line.at_ms / 1000, timezone.utc)
    return LogLine(attempt, number, at, line.stream, line.redraw, line.text)


def _matches(attempt: int, head: Row, data: bytes, words: str, after: int) -> Iterator[LogLine]:
    stamped = unpacked(data)
    seen = (without_escapes(stamped) if "\x1b" in stamped else stamped).lower()
    if words not in seen:
        return  # most portions: no line of them is looked at
    lines = stamped.split("\n")
    for place, line in enumerate(seen.split("\n")):
        if words in line and head["first_line"] + place > after:
            read = line_of(lines[place])
            # The words may have stood in its stamp.
            if read and not read.redraw and words in plain_text(read.text).lower():
                yield _log_line(attempt, head["first_line"] + place, read)
