"""A span of logs: one attempt's, or those of all attempts read as one, from any place in either direction.

Every answer is bounded in entries and in bytes, however long the log is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.ledger import logs
from app.ledger.db import Ledger
from app.ledger.logs import LogGap, LogLine, LogPart, SearchPart
from app.pool.errors import BadRequest
from app.pool.model import JobId
from app.web.http.schemas import LOG_PLACE

PART_BYTES = 512 * 1024  # of text in an answer to people; one line more may be in it
Entry = LogLine | LogGap
LogPlace = tuple[int, int]  # attempt and line


@dataclass(frozen=True)
class LogSpan:
    """The logs of these attempts, in this order, as one."""

    ledger: Ledger
    job: JobId
    attempts: tuple[int, ...]

    @property
    def beginning(self) -> LogPlace:
        """The place before the first line."""
        return (self.attempts[0], 0)

    def after(self, place: LogPlace, limit: int) -> LogPart:
        """Up to `limit` entries beyond this place."""
        found: list[Entry] = []
        for attempt in self._from(place):
            number = place[1] if attempt == place[0] else 0
            part = logs.read(self.ledger, self.job, attempt, number, limit - len(found))
            found.extend(part.entries)
            if part.more:
                return _bounded(found, True)
            if len(found) == limit:
                return _bounded(found, attempt != self.attempts[-1])
        return _bounded(found, False)

    def before(self, place: LogPlace | None, limit: int) -> LogPart:
        """About `limit` entries before this place, or the last ones; `more` says whether the span begins earlier."""
        found: list[Entry] = []
        earlier = False
        for attempt in reversed(self.attempts if place is None else [n for n in self.attempts if n <= place[0]]):
            number = place[1] if place and attempt == place[0] else logs.length(self.ledger, self.job, attempt) + 1
            part = logs.before(self.ledger, self.job, attempt, number, limit - len(found))
            found[:0] = part.entries
            if part.more or len(found) >= limit:
                earlier = part.more or attempt != self.attempts[0]
                break
        kept = _last_bytes(found)
        return LogPart(kept, earlier or len(kept) < len(found))

    def search(self, text: str, place: LogPlace, limit: int) -> tuple[SearchPart, LogPlace]:
        """Lines beyond this place that hold the text, of one look, and the place from which the next look goes on."""
        for attempt in self._from(place):
            number = place[1] if attempt == place[0] else 0
            part = logs.search(self.ledger, self.job, attempt, text, number, limit)
            if part.more or attempt == self.attempts[-1]:
                return part, (attempt, part.looked)
            if part.lines:
                return SearchPart(part.lines, part.looked, True), (attempt + 1, 0)
        return SearchPart((), place[1], False), place

    def all(self, place: LogPlace) -> Iterator[Entry]:
        """Every entry beyond this place, one portion in memory at a time."""
        for attempt in self._from(place):
            number = place[1] if attempt == place[0] else 0
            yield from logs.entries_after(self.ledger, self.job, attempt, number)

    def is_closed(self) -> bool:
        """Whether no further line is awaited of its last attempt."""
        return logs.is_closed(self.ledger, self.job, self.attempts[-1])

    def _from(self, place: LogPlace) -> list[int]:
        return [attempt for attempt in self.attempts if attempt >= place[0]]


def place_after(entry: Entry) -> LogPlace:
    """The place beyond an entry."""
    return (entry.attempt, entry.number if isinstance(entry, LogLine) else entry.after + entry.lines)


def place_before(entry: Entry) -> LogPlace:
    """The place before which what is earlier than an entry ends."""
    return (entry.attempt, logs.place(entry))


def place_of(text: str, attempt: int) -> LogPlace:
    """The place that `number` or `attempt:number` names. Raises BadRequest."""
    if not re.fullmatch(LOG_PLACE, text):
        raise BadRequest(f"{text!r:.40} is no place in a log; give a line's number, or `next` of the part before")
    first, _, last = text.rpartition(":")
    return (int(first or attempt), int(last))


def written(place: LogPlace) -> str:
    """A place as `place_of` reads it."""
    return f"{place[0]}:{place[1]}"


def _bounded(entries: Sequence[Entry], more: bool) -> LogPart:
    kept = _first_bytes(entries)
    return LogPart(kept, more or len(kept) < len(entries))


def _first_bytes(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    kept, size = [], 0
    for entry in entries:
        if size > PART_BYTES:
            break
        kept.append(entry)
        size += len(entry.text) if isinstance(entry, LogLine) else 0
    return tuple(kept)


def _last_bytes(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return _first_bytes(reversed(entries))[::-1]
