"""Reading a job's log from the command line, part by part, and following it over attempts until the job has ended."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from app.cli.client import Client
from app.cli.follow import ENDED, LOOK_S
from app.pool.errors import Unavailable
from app.pool.log.words import ALL, attempt_head

QUIET_S = 5  # without a line, once an attempt is over: its agent died before it could send the rest
PART = 5000  # lines asked for at once
LogItem = Mapping[str, Any]  # a line, a gap, or {"head": the words before an attempt}


@dataclass
class LogReader:
    """Reads the log of a job: one attempt's, by default the newest's and, `following`, those of later ones."""

    client: Client
    job: str
    attempt: int | None = None
    every: bool = False  # from the first attempt to the last
    following: bool = False
    last: int | None = None  # lines to begin with
    _number: int = field(default=0, init=False)
    _after: str = field(default="0", init=False)
    _headed: int = field(default=0, init=False)  # the attempt whose head was said
    _heard_at: float = field(default=0.0, init=False)

    def items(self) -> Iterator[LogItem]:
        """The items, oldest first. Raises PoolError; but one that follows waits for a server that is away."""
        found = self._ask("")
        self._number = 1 if self.every else self.attempt or found["attempt"]
        self._headed, self._heard_at = 0 if self.every else self._number, time.monotonic()
        while True:
            # The job was asked for before these lines: if it is over, nothing that it wrote until then is missed.
            closed = yield from self._part()
            if self._is_over(found) and (closed or self._is_quiet()):
                if self.attempt is not None or self._number >= found["attempt"]:
                    return
                self._number, self._after, self._heard_at = self._number + 1, "0", time.monotonic()
                continue
            time.sleep(LOOK_S)
            found = self._ask("")

    def _part(self) -> Generator[LogItem, None, bool]:
        """What is there by now; returns whether the attempt's log is closed."""
        while True:
            tail = self._tail()
            attempt = ALL if self.every and tail is not None else self._number
            page = self._ask("/log", attempt=attempt, after=self._after, limit=PART, tail=tail)
            for item in page["items"]:
                if item["attempt"] != self._headed:
                    self._number = self._headed = item["attempt"]
                    yield {"head": attempt_head(self._number)}
                yield item
                gap = item.get("missing")
                self._after = str(item["after"] + gap["lines"] if gap else item["number"])
                self._heard_at = time.monotonic()
            if page["next"] is None:
                return bool(page["closed"])
            self._after = page["next"]

    def _tail(self) -> int | None:
        tail, self.last = self.last, None
        return tail

    def _is_over(self, job: Any) -> bool:
        return not self.following or job["state"] in ENDED or self._number < job["attempt"]

    def _is_quiet(self) -> bool:
        return not self.following or time.monotonic() - self._heard_at > QUIET_S

    def _ask(self, path: str, **query: Any) -> Any:
        away = False
        while True:
            try:
                answer = self.client.get(f"/jobs/{self.job}{path}", query)
                self._heard_at = time.monotonic() if away else self._heard_at  # agents could not send either
                return answer
            except Unavailable as error:
                if not self.following:
                    raise
                if not away:
                    click.echo(f"{error}; waiting for it", err=True)
                away = True
            time.sleep(LOOK_S)
