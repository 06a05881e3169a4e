"""Logs as agents send them, written straight into the ledger as portions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.ledger import logs
from app.ledger.db import Ledger, Row
from app.ledger.logs import StoreOutcome
from app.pool.log.portion import PortionHead, pack, stamped
from app.pool.model import Job, WorkerId

EVERYTHING = 2**40
BEGUN_MS = 1_764_500_000_000  # when line 1 was written; each later one a second after the one before


def write_log(
    ledger: Ledger,
    job: Job,
    lines: Sequence[str | tuple[str, str]] = (),
    worker: WorkerId | None = None,
    closed: bool = False,
    lost: int = 0,
    kept_bytes: int = EVERYTHING,
) -> None:
    """Add a portion of these lines to the log of the job's present attempt, after `lost` lines that never came.

    A line is text of standard output, or (stream, text): the stream's letter, a capital for the state of a bar.
    """
    before = _newest(ledger, job)
    pairs = [("o", line) if isinstance(line, str) else line for line in lines]
    blocks = [(stream, f"{text}\n".encode(errors="surrogateescape")) for stream, text in pairs]
    first = before["first_line"] + before["lines"] + lost
    text = b"".join(stamped(BEGUN_MS + 1000 * (first + n), *each) for n, each in enumerate(blocks))
    first_byte, size = before["first_byte"] + before["bytes"] + 10 * lost, sum(len(block) for _, block in blocks)
    head = PortionHead(before["number"] + 1, first, len(blocks), first_byte, size, closed)
    sender = worker or job.worker
    assert sender
    stored = logs.store(ledger, job.id, job.attempt, sender, head, pack(text), kept_bytes)
    assert stored is StoreOutcome.NOW, stored


def write_many(ledger: Ledger, job: Job, count: int, lines: Iterable[int] = (), closed: bool = True) -> None:
    """A log of so many lines, "line N of the log"; those in `lines` say "needle" too."""
    marked, portion = set(lines), 10_000
    for begin in range(1, count + 1, portion):
        numbers = range(begin, min(begin + portion, count + 1))
        text = [f"line {n} of the log{' needle' if n in marked else ''}" for n in numbers]
        write_log(ledger, job, text, closed=closed and numbers[-1] == count)


def _newest(ledger: Ledger, job: Job) -> Row:
    """The head of the newest portion of the job's present attempt; where there is none, of what is before the first."""
    heads = ledger.all("log_portions_after", job=job.id, attempt=job.attempt, after=0, limit=1_000_000)
    return heads[-1] if heads else {"number": 0, "first_line": 1, "lines": 0, "first_byte": 0, "bytes": 0}
