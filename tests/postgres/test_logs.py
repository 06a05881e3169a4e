"""Logs: portions are stored once each, the middle of a long log goes, and what is missing is told."""

from __future__ import annotations

import pytest

from app.ledger import logs
from app.ledger.db import Ledger, Row
from app.ledger.logs import LogGap, LogLine, StoreOutcome
from app.pool.log.portion import PortionHead, pack, stamped
from app.pool.model import JobId, Worker
from tests.kit.actors import join, running

TEXT = b"one\ntwo\n"
EVERYTHING = 2**40


@pytest.fixture
def worker(ledger: Ledger) -> Worker:
    """A worker that has joined."""
    return join(ledger)


def send(
    ledger: Ledger, worker: Worker, job: JobId, number: int, kept_bytes: int = EVERYTHING, closed: bool = False
) -> StoreOutcome:
    """Store portion `number` of attempt 1: two lines of four bytes."""
    head = PortionHead(number, 2 * number - 1, 2, len(TEXT) * (number - 1), len(TEXT), closed)
    return logs.store(ledger, job, 1, worker.id, head, pack(stamped(1_000 * number, "e", TEXT)), kept_bytes)


def shown(part: logs.LogPart) -> list[tuple[int, str]]:
    return [
        (entry.number, entry.text) if isinstance(entry, LogLine) else (entry.after, f"{entry.lines}/{entry.bytes}")
        for entry in part.entries
    ]


def test_a_portion_that_comes_twice_is_stored_once_and_one_of_another_worker_never(
    ledger: Ledger, worker: Worker
) -> None:
    job = running(ledger, worker).id
    stranger = join(ledger, "stranger")
    assert send(ledger, stranger, job, 1) is StoreOutcome.UNKNOWN
    assert [send(ledger, worker, job, 1) for _ in range(2)] == [StoreOutcome.NOW, StoreOutcome.BEFORE]
    assert send(ledger, stranger, job, 1) is StoreOutcome.UNKNOWN
    assert shown(logs.read(ledger, job, 1)) == [(1, "one"), (2, "two")]


def test_lines_are_read_from_any_place_with_time_and_stream(ledger: Ledger, worker: Worker) -> None:
    job = running(ledger, worker).id
    for number in (1, 2, 3):
        send(ledger, worker, job, number, closed=number == 3)
    part = logs.read(ledger, job, 1, after=1, limit=3)
    first = part.entries[0]
    assert isinstance(first, LogLine)
    assert (first.at.timestamp(), first.stream, first.redraw) == (1.0, "e", False)
    assert (shown(part), part.more) == ([(2, "two"), (3, "one"), (4, "two")], True)
    assert shown(logs.read(ledger, job, 1, after=4)) == [(5, "one"), (6, "two")]
    assert logs.read(ledger, job, 1, after=6) == logs.LogPart((), False)
    assert (logs.length(ledger, job, 1), logs.is_closed(ledger, job, 1)) == (6, True)


def test_the_middle_of_a_log_that_is_too_long_goes_and_readers_are_told_how_much(
    ledger: Ledger, worker: Worker
) -> None:
    job = running(ledger, worker).id
    for number in range(1, 11):
        send(ledger, worker, job, number, kept_bytes=4 * len(TEXT))
    part = logs.read(ledger, job, 1)
    assert shown(part)[3:6] == [(4, "two"), (4, "12/48"), (17, "one")]
    assert part.entries[4] == LogGap(1, 4, 12, 48)
    assert shown(logs.read(ledger, job, 1, after=14))[:2] == [(14, "2/48"), (17, "one")]
    assert logs.length(ledger, job, 1) == 20


def test_what_an_agent_could_not_send_is_a_gap_too_and_a_broken_portion_hides_no_other(
    ledger: Ledger, worker: Worker
) -> None:
    job = running(ledger, worker).id
    send(ledger, worker, job, 2)
    head = PortionHead(3, 5, 2, 16, 8)
    logs.store(ledger, job, 1, worker.id, head, b"x\x9cnot zlib at all", EVERYTHING)
    send(ledger, worker, job, 4)
    assert shown(logs.read(ledger, job, 1)) == [(0, "2/8"), (3, "one"), (4, "two"), (7, "one"), (8, "two")]


def test_many_small_portions_are_read_and_searched_together(
    ledger: Ledger, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running(ledger, worker).id
    for number in range(1, 101):  # a program that says two lines now and then
        send(ledger, worker, job, number)
    asked: list[str] = []
    ask = Ledger.all

    def counted(self: Ledger, query: str, /, **parameters: object) -> list[Row]:
        asked.append(query)
        return ask(self, query, **parameters)

    monkeypatch.setattr(Ledger, "all", counted)
    assert len(logs.read(ledger, job, 1).entries) == 200
    assert len(logs.search(ledger, job, 1, "TWO").lines) == 100
    assert len(asked) <= 6
