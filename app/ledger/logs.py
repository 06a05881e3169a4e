"""Logs of attempts: portions are stored as their agents sent them, once each, and read line by line.

Of a log that is longer than what is kept the middle goes: the beginning tells how a program was set up, the end why it
failed. Who reads is told how much is missing, and where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum

from app.ledger.db import Ledger, Row
from app.pool.codec import plain
from app.pool.log.portion import PortionHead, Stream, unpack
from app.pool.model import JobId, WorkerId

PORTIONS_AT_ONCE = 64  # of which the heads are read together; their data is read one by one


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
class LogExtent:
    """How long an attempt's log is, with what is missing of it; bytes of text."""

    attempt: int
    lines: int
    bytes: int
    closed: bool  # nothing more comes
    missing_lines: int
    missing_bytes: int


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


def tail(ledger: Ledger, job: JobId, attempt: int, limit: int = 100) -> LogPart:
    """The last lines of an attempt."""
    row = ledger.one("log_line_before_tail", job=job, attempt=attempt, limit=limit)
    after = row["after"] if row else None
    return LogPart((), False) if after is None else read(ledger, job, attempt, after, limit + 1)


def extents(ledger: Ledger, job: JobId) -> list[LogExtent]:
    """How long the log of each attempt is that has one, the first attempt first."""
    return [
        LogExtent(**{**row, "missing_bytes": int(row["missing_bytes"]), "missing_lines": int(row["missing_lines"])})
        for row in ledger.all("log_extents", job=job)
    ]


def entries_after(ledger: Ledger, job: JobId, attempt: int, after: int = 0) -> Iterator[LogLine | LogGap]:
    """All entries of an attempt's log beyond line `after`, one portion in memory at a time."""
    while heads := ledger.all("log_portions_after", job=job, attempt=attempt, after=after, limit=PORTIONS_AT_ONCE):
        for head in heads:
            row = ledger.one("log_portion", job=job, attempt=attempt, number=head["number"])
            if row is None:
                continue  # trimmed since: the next head's gap tells of it
            if head["first_line"] > after + 1:
                missing = head["first_line"] - after - 1
                yield LogGap(attempt, after, missing, max(0, head["first_byte"] - head["gap_from_byte"]))
            yield from _lines(attempt, head, bytes(row["data"]), after)
            after = max(after, head["first_line"] + head["lines"] - 1)


def _lines(attempt: int, head: Row, data: bytes, after: int) -> Iterator[LogLine]:
    for number, line in enumerate(unpack(data), head["first_line"]):
        if number > after:
            at = datetime.fromtimestamp(line.at_ms / 1000, timezone.utc)
            yield LogLine(attempt, number, at, line.stream, line.redraw, line.text)
