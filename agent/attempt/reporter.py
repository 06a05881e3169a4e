"""What a workflow says of itself, turned into numbered reports: checkpoints, its end, progress a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from agent.ipc.link import Message
from agent.log.attempt_log import AttemptLog
from app.pool.codec import from_plain, plain
from app.pool.model import LIMITS
from app.pool.protocol import Cause, Order, Report
from app.pool.text import storable_text

PROGRESS_S = 0.2  # between two reports of progress; of what comes in between the newest is sent


class Reporter:
    """One attempt's reports, numbered and passed on through `send`; its log goes another way."""

    def __init__(self, order: Order, send: Callable[[Message], None], attempt_log: AttemptLog) -> None:
        self._order = order
        self._send = send
        self._log = attempt_log
        self._progress: dict[str, Any] | None = None
        self._progress_said = 0
        self._progress_at = 0.0
        self._fraction: float | None = None
        self._text = ""  # the workflow's own
        self._saved_text = False  # how far its saving is stands in the place of its own text
        self.heard_at = time.monotonic()  # of the newest progress, checkpoint or output
        self.ended: Report | None = None  # what the workflow says of its own end
        self.wants_last = False  # it leaves it to the log to say why

    def heard(self, message: Message) -> None:
        """Take one message of the workflow's process. Raises ValueError, TypeError or KeyError when it is no report."""
        self.heard_at = time.monotonic()
        if "remark" in message:
            self.remark(str(message["remark"]))
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
    def recent(self) -> list[str]:
        """The last lines of the log, of each its beginning."""
        return self._log.recent.lines()

    @property
    def last(self) -> list[str]:
        """The last lines of the log that an error ends with."""
        return self.recent[-LIMITS.error_lines :]

    def remark(self, words: str) -> None:
        """Add words of Muster's own to the log."""
        self._log.remark(words)

    def due_s(self) -> float | None:
        """Seconds until progress that was held back is to be sent; None when none is held back."""
        return max(0.0, self._progress_at + PROGRESS_S - time.monotonic()) if self._progress else None

    def flush(self, all_of_it: bool = False) -> None:
        """Send progress that is due, or with `all_of_it` any."""
        now = time.monotonic()
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
        self.wants_last = bool(message.get("last_lines"))
        return self.report("end", end=message["end"], cause=Cause.WORKFLOW, **fields)

    def _send_progress(self, now: float) -> None:
        self._progress_said += 1
        assert self._progress is not None
        self._say(self.report("progress", number=self._progress_said, **self._progress))
        self._progress, self._progress_at = None, now

    def _say(self, report: Report) -> None:
        fields = plain(report)
        del fields["worker"], fields["incarnation"]  # main's own to say
        self._send({"m": "report", "report": fields})
