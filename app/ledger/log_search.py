"""Looking for words in an attempt's log: what a reader sees is compared, so colours and letters' case do not matter.

A look is bounded: it says from where the next one goes on. States of bars are not found, since no reader sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.ledger.db import Ledger, Row
from app.ledger.logs import PORTIONS_AT_ONCE, LogLine, log_line
from app.pool.log.ansi import plain_text, without_escapes
from app.pool.log.portion import line_of, unpacked
from app.pool.model import JobId

LOOK_BYTES = 8 * 1024 * 1024  # of text, about a tenth of a second


@dataclass(frozen=True)
class SearchPart:
    """Lines that were found, oldest first; all up to line `looked` have been looked at, and `more` may follow."""

    lines: tuple[LogLine, ...]
    looked: int
    more: bool


def search(
    ledger: Ledger,
    job: JobId,
    attempt: int,
    text: str,
    after: int = 0,
    limit: int = 100,
    within_bytes: int = LOOK_BYTES,
) -> SearchPart:
    """Up to `limit` lines beyond `after` that hold this text, among the next `within_bytes` of the log and a bit."""
    found: list[LogLine] = []
    words, left = text.lower(), within_bytes
    heads = ledger.all("log_search_portions", job=job, attempt=attempt, after=after, limit=PORTIONS_AT_ONCE)
    for head in heads:
        if left <= 0:
            return SearchPart(tuple(found), after, True)
        row = ledger.one("log_portion", job=job, attempt=attempt, number=head["number"])
        for line in _matches(attempt, head, bytes(row["data"]) if row else b"", words, after):
            found.append(line)
            if len(found) == limit:
                return SearchPart(tuple(found), line.number, True)
        after = head["first_line"] + head["lines"] - 1
        left -= head["bytes"]
    return SearchPart(tuple(found), after, len(heads) == PORTIONS_AT_ONCE)


def _matches(attempt: int, head: Row, data: bytes, words: str, after: int) -> Iterator[LogLine]:
    stamped = unpacked(data)
    seen = without_escapes(stamped).lower()
    if words not in seen:
        return  # most portions: no line of them is looked at
    lines = stamped.split("\n")
    for place, line in enumerate(seen.split("\n")):
        if words in line and head["first_line"] + place > after:
            read = line_of(lines[place])
            # The words may have stood in its stamp.
            if read and not read.redraw and words in plain_text(read.text).lower():
                yield log_line(attempt, head["first_line"] + place, read)
