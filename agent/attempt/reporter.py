"""What a workflow says, turned into numbered reports: log lines in batches, progress a few times a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from agent.ipc.link import Message
from agent.limits import cut
from app.pool.codec import from_plain, plain
from app.pool.model import LIMITS
from app.pool.protocol import Cause, Order, Report
from app.pool.text import storable_text

LOG_WAIT_S = 0.1
LOG_BATCH = 100
PROGRESS_S = 0.2  # between two reports of progress; of what comes in between the newest is sent
LAST_LINES = 20  # of the log that go with the end of a failed attempt
RECENT_LINES, RECENT_CHARACTERS = 1000, 1000  # that rules look through: lines, and characters of each


class Reporter:
    """One attempt's reports, numbered and passed on through `send`."""

    def __init__(self, order: Order, send: Callable[[Message], None]) -> None:
        self._order = order
        self._send = send
        self._lines: list[str] = []
        self._lines_since = 0.0
        self._lines_said = 0
        self._progress: dict[str, Any] | None = None
        self._progress_said = 0
        self._progress_at = 0.0
        self._fraction: float | None = None
        self._text = ""  # the workflow's own
        self._saved_text = False  # how far its saving is stands in the place of its own text
        self.recent: deque[str] = deque(maxlen=RECENT_LINES)
        self.heard_at = time.monotonic()  # of the newest progress, checkpoint or log line
        self.ended: Report | None = None  # what the workflow says of its own end

    def heard(self, message: Message) -> None:
        """Take one message of the workflow's process. Raises ValueError, TypeError or KeyError when it is no report."""
        self.heard_at = time.monotonic()
        if "log" in message:
            self.log([str(line) for line in message["log"]])
        elif "progress" in message:
            self._fraction = float(message["progress"])
            self._text = storable_text(message.get("text", ""))
            self._progress = {"fraction": self._fraction, "text": self._text}
        elif "saving" in message:
            self._saving(message["saving"])
        elif "checkpoint" in message:
            self._checkpoint(message)
        elif "end" in message:
            self.ended = self._end(message)

    @property
    def last(self) -> list[str]:
        """The last LAST_LINES lines of the log."""
        return list(self.recent)[-LAST_LINES:]

    @staticmethod
    def shortened(lines: Iterable[str]) -> Iterator[str]:
        """The beginnings of these lines, as `recent` has them."""
        return (storable_text(line[:RECENT_CHARACTERS]) for line in lines)

    def log(self, lines: list[str]) -> None:
        """Take log lines; long ones are cut, and beyond the limit they are dropped."""
        self.heard_at = time.monotonic() if lines else self.heard_at
        self.recent.extend(self.shortened(lines[-RECENT_LINES:]))
        left = LIMITS.log_lines - self._lines_said - len(self._lines)
        if not lines or left <= 0:
            return
        self._lines_since = self._lines_since if self._lines else time.monotonic()
        self._lines += [cut(storable_text(line)) for line in lines[:left]]
        while len(self._lines) >= LOG_BATCH:
            self._send_lines()

    def due_s(self) -> float | None:
        """Seconds until something that was held back is to be sent; None when nothing is held back."""
        moments = [self._lines_since + LOG_WAIT_S] if self._lines else []
        moments += [self._progress_at + PROGRESS_S] if self._progress else []
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def flush(self, all_of_it: bool = False) -> None:
        """Send what is due, or with `all_of_it` everything."""
        now = time.monotonic()
        if self._lines and (all_of_it or now >= self._lines_since + LOG_WAIT_S):
            self._send_lines()
        if self._progress and (all_of_it or now >= self._progress_at + PROGRESS_S):
            self._send_progress(now)

    def end(self, report: Report) -> None:
        """Send the end, after everything that was held back."""
        self.flush(all_of_it=True)
        self._say(report)

    def report(self, kind: str, **fields: Any) -> Report:
        """A report of this attempt. Raises ValueError when a field is of the wrong shape."""
        order = self._order
        named = {"worker": order.worker, "incarnation": order.incarnation, "job": order.job, "attempt": order.attempt}
        return from_plain(Report, {"kind": kind, **named, **fields})

    def _saving(self, words: str | None) -> None:
        """Show how far the saving of files is (`words`), and afterwards what the workflow had said."""
        if words or self._saved_text:
            self._progress = {"fraction": self._fraction or 0.0, "text": self._text if words is None else str(words)}
            self._saved_text = bool(words)

    def _checkpoint(self, message: Message) -> None:
        self.flush(all_of_it=True)
        fields = {"number": message["number"], "state": message["checkpoint"], "files": message.get("files", [])}
        self._say(self.report("checkpoint", fraction=self._fraction, **fields))

    def _end(self, message: Message) -> Report:
        error, files = message.get("error"), message.get("outputs", [])
        said = {name: message.get(name) for name in ("result", "exit_code", "then")}
        fields = {**said, "error": error and storable_text(error), "files": files}
        return self.report("end", end=message["end"], cause=Cause.WORKFLOW, **fields)

    def _send_lines(self) -> None:
        batch, self._lines = self._lines[:LOG_BATCH], self._lines[LOG_BATCH:]
        self._say(self.report("log", number=self._lines_said + 1, lines=batch))
        self._lines_said += len(batch)

    def _send_progress(self, now: float) -> None:
        self._progress_said += 1
        assert self._progress is not None
        self._say(self.report("progress", number=self._progress_said, **self._progress))
        self._progress, self._progress_at = None, now

    def _say(self, report: Report) -> None:
        fields = plain(report)
        del fields["worker"], fields["incarnation"]  # main's own to say
        self._send({"m": "report", "report": fields})
