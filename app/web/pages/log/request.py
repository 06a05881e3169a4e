"""What a request for a part of the log asks: of which attempts, and from where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.ledger import attempts
from app.ledger.db import Ledger
from app.pool.errors import BadRequest
from app.pool.log.words import ALL
from app.pool.model import ENDED, Job
from app.web.pages.log.chunks import AROUND, LINES, LogParts, chunk_of
from app.web.shapes.log_span import Entry, LogPlace, LogSpan, place_after, place_of


@dataclass(frozen=True)
class LogRequest:
    """The log of one attempt, or of all, and of which place in it."""

    span: LogSpan
    key: str  # the attempt as it was asked for, or "all"
    newest: bool  # nobody named one: it goes on with the attempts to come
    tried: tuple[int, ...]
    ended: bool  # the job has
    place: Mapping[str, str]  # at most one of line, before, after

    def parts(self) -> LogParts:
        """The part of the log that is asked for; by default its end."""
        if not self.place:
            return self.end()
        if "before" in self.place:
            part = self.span.before(self._place("before"), LINES)
            return self._parts(part.entries, self._place("before"), part.more, "later")
        closed = self._is_closed()  # before its lines are read: see the API
        if "line" in self.place:
            return self._around(self._place("line"), closed)
        part = self.span.after(self._place("after"), LINES)
        return self._parts(part.entries, self._place("after"), True, "later" if part.more else _end(closed))

    def end(self) -> LogParts:
        """The last lines."""
        closed = self._is_closed()
        part = self.span.before(None, LINES)
        return self._parts(part.entries, (self.span.attempts[-1], 0), part.more, _end(closed))

    @property
    def newer(self) -> int | None:
        """The attempt that the job went on with after the one that is asked for."""
        return self.tried[-1] if self.tried and self.tried[-1] > self.span.attempts[-1] else None

    def _is_closed(self) -> bool:
        """Whether no further line is awaited here."""
        return self.span.is_closed() and (self.ended or self.key != ALL)

    def _around(self, place: LogPlace, closed: bool) -> LogParts:
        before = self.span.before(place, AROUND)
        after = self.span.after((place[0], max(0, place[1] - 1)), AROUND)
        state = "later" if after.more else _end(closed)
        return self._parts((*before.entries, *after.entries), place, before.more, state, place)

    def _parts(
        self, entries: tuple[Entry, ...], place: LogPlace, earlier: bool, state: str, hit: LogPlace | None = None
    ) -> LogParts:
        beyond = place_after(entries[-1]) if entries else place
        chunk, bars = chunk_of(entries, beyond, earlier, self.key == ALL, hit)
        return LogParts(self.key, chunk, {} if state == "later" else bars, state, self.newer)

    def _place(self, name: str) -> LogPlace:
        return place_of(self.place[name], self.span.attempts[-1])


def log_request(ledger: Ledger, job: Job, asked: Mapping[str, str]) -> LogRequest:
    """The request that this query makes. Raises BadRequest."""
    tried = tuple(attempt.number for attempt in attempts.of_job(ledger, job.id))
    word = asked.get("attempt", "")
    last = tried[-1] if tried else 1
    numbers = tried or (1,) if word == ALL else (attempt_of(asked) or last,)
    newest = not word or asked.get("newest") == "1"
    place = {name: asked[name] for name in ("line", "before", "after") if asked.get(name)}
    if len(place) > 1:
        raise BadRequest("a part of the log is around a line, before or after one; name one of them")
    span = LogSpan(ledger, job.id, numbers)
    return LogRequest(span, word if word == ALL else str(numbers[0]), newest, tried, job.state in ENDED, place)


def attempt_of(asked: Mapping[str, str]) -> int | None:
    """The number of the attempt that is asked for; None for the newest, or all. Raises BadRequest."""
    word = asked.get("attempt", "")
    if word in ("", ALL):
        return None
    if not word.isascii() or not word.isdigit() or not 1 <= int(word[:10]) < 2**31:
        raise BadRequest("an attempt is a number from 1, or all", [("?attempt", "give its number")])
    return int(word)


def _end(closed: bool) -> str:
    return "closed" if closed else "live"
