"""The fleet's filter as it stands in the URL: ?status=down&tag=!optix&host=render. PURE.

A word that begins with "!" is negated. Of the plain words of one field any may hold; of the negated
ones none may. A host or name fits when it contains the word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

FIELDS = ("status", "tag", "host", "group", "investigation")
PAGE_ROWS = 100


class Facts(Protocol):
    """The facts of a worker that a filter looks at."""

    @property
    def name(self) -> str: ...
    @property
    def hostname(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def investigation(self) -> str | None: ...


@dataclass(frozen=True)
class Chip:
    """One word of the filter as the page shows it, with the URLs that negate and drop it."""

    field: str
    word: str
    negated: bool
    turned: str
    dropped: str


@dataclass(frozen=True)
class Filter:
    """Words by field, and the page of rows."""

    words: tuple[tuple[str, str], ...] = ()
    page: int = 1

    @classmethod
    def of(cls, arguments: MultiDict[str, str]) -> Filter:
        """The filter in a URL's arguments; unknown arguments are ignored."""
        words = ((field, word.strip()) for field in FIELDS for word in arguments.getlist(field))
        page = arguments.get("page", 1, type=int)
        return cls(tuple(dict.fromkeys(w for w in words if w[1].strip("!"))), max(1, page))

    def matches(self, row: Facts) -> bool:
        """True for a worker that the filter shows."""
        return all(self._field_matches(field, row) for field in FIELDS)

    def url(self, page: int = 1) -> str:
        """The query of this filter, with its question mark; empty for no filter."""
        query = urlencode([*self.words, *([("page", page)] if page > 1 else [])])
        return f"?{query}" if query else ""

    def chips(self) -> tuple[Chip, ...]:
        """The filter's words, with the URLs that negate and drop each."""
        return tuple(self._chip(field, word) for field, word in self.words)

    def _chip(self, field: str, word: str) -> Chip:
        negated = word.startswith("!")
        turned = word[1:] if negated else f"!{word}"
        others = [each for each in self.words if each != (field, word)]
        return Chip(
            field,
            word.lstrip("!"),
            negated,
            f"/{Filter((*others, (field, turned))).url()}",
            f"/{Filter(tuple(others)).url()}",
        )

    def _field_matches(self, field: str, row: Facts) -> bool:
        asked = [word for name, word in self.words if name == field]
        wanted = [word for word in asked if not word.startswith("!")]
        unwanted = [word[1:] for word in asked if word.startswith("!")]
        return (not wanted or _any(field, wanted, row)) and not _any(field, unwanted, row)


def _any(field: str, words: Iterable[str], row: Facts) -> bool:
    if field == "host":
        return any(word.lower() in f"{row.name} {row.hostname}".lower() for word in words)
    opened = ("open",) if row.investigation else ()
    has = {"status": (row.status,), "tag": row.tags, "group": row.groups, "investigation": opened}[field]
    return any(word in has for word in words)
