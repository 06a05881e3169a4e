"""The spooler: portions that become files, and what it loses, and says, when the disk is full or hangs."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path

import pytest

from agent.log import draft, spool, spooler
from agent.log.attempt_log import AttemptLog
from agent.log.spool import Portion, attempt_folder
from agent.log.spooler import MOST_WAITING, Spooler
from app.pool.log.portion import MOST_BYTES, numbered, pack
from app.pool.model import JobId
from tests.kit.services import eventually

JOB = JobId("0123456789ab")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return attempt_folder(tmp_path, JOB, 1)


def closed(writer: Spooler) -> None:
    writer.close()
    eventually(lambda: writer.ended, 20)


def kept(folder: Path) -> list[Portion]:
    return spool.portions(folder.parent, JOB, 1)


def lines(folder: Path) -> list[str]:
    found = [spool.file_of(folder.parent, portion).read_bytes() for portion in kept(folder)]
    return [line.text for data in found for _, line in numbered(data)]


def test_what_is_heard_becomes_portions_whose_heads_follow_each_other(folder: Path) -> None:
    writer = Spooler(folder)
    log = AttemptLog(writer.take)
    for number in range(40):
        log.hear("o" if number % 2 else "e", b"".join(b"%d of %d\n" % (each, number) for each in range(5_000)))
    closed(writer)
    heads = [portion.head for portion in kept(folder)]
    assert len(heads) > 2 and [head.number for head in heads] == list(range(1, len(heads) + 1))
    at_line, at_byte = 1, 0
    for head in heads:
        assert (head.first_line, head.first_byte) == (at_line, at_byte)
        at_line, at_byte = at_line + head.lines, at_byte + head.bytes
    assert (at_line - 1, at_byte) == (200_000, log.bytes)
    assert [head.closed for head in heads] == [False] * (len(heads) - 1) + [True]
    assert lines(folder)[::5_000] == [f"0 of {number}" for number in range(40)]
    assert [(head, size) for head, size in writer.written()] == [(each.head, each.size) for each in kept(folder)]


def test_one_block_of_many_short_lines_is_more_than_one_portion(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []

    def counted(text: bytes) -> bytes:
        packed.append(len(text))
        return pack(text)

    monkeypatch.setattr(draft, "pack", counted)
    writer = Spooler(folder)
    AttemptLog(writer.take).hear("o", b"\n" * 250_000)
    closed(writer)
    assert len(packed) > 3 and max(packed) <= MOST_BYTES
    assert len(lines(folder)) == 250_000


def test_a_portion_is_there_soon_though_its_log_goes_on(folder: Path) -> None:
    writer = Spooler(folder)
    AttemptLog(writer.take).hear("o", b"first\n")
    assert writer.bell.wait(20)
    assert lines(folder) == ["first"]
    closed(writer)
    assert [portion.head.closed for portion in kept(folder)] == [False, True]  # its end is told, though it is empty


def test_an_attempt_that_says_nothing_leaves_nothing_and_needs_no_thread(folder: Path) -> None:
    writer = Spooler(folder)
    writer.close()
    assert writer.ended and not folder.exists()


def test_a_full_disk_costs_the_portions_that_it_does_not_take_and_is_said_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = [True, True, False]
    write = spool.write

    def written(*what: object) -> None:
        if full and full.pop(0):
            raise OSError(28, "No space left on device")
        write(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(spool, "write", written)
    writer = Spooler(folder)
    log = AttemptLog(writer.take)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            log.hear("o", (b"x" * 99 + b"\n") * 8_000)  # a portion has room for less than two of these
        closed(writer)
    heads = [portion.head for portion in kept(folder)]
    assert (heads[0].first_line, heads[0].first_byte, heads[-1].closed) == (16_001, 1_600_000, True)
    assert [record.message for record in caplog.records if "No space left" in record.message] == [
        f"log: a portion is lost, and more while this lasts: folder={folder}: [Errno 28] No space left on device"
    ]


def test_a_disk_that_hangs_stops_the_reading_and_then_costs_what_comes_until_it_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooler, "STUCK_S", 0.3)
    folder.mkdir(parents=True)
    os.mkfifo(folder / "1.draft")  # opening it waits for a reader
    writer = Spooler(folder)
    log = AttemptLog(writer.take)
    block = (b"x" * 1023 + b"\n") * 256
    while writer.room:
        log.hear("o", block)
    before = log.bytes
    assert MOST_WAITING <= before <= MOST_WAITING + 4 * MOST_BYTES
    eventually(lambda: writer.room, 20)  # it is given up, so that the job may go on
    began = time.monotonic()
    for _ in range(100):
        log.hear("o", block)
    assert time.monotonic() - began < 10
    reader = os.open(folder / "1.draft", os.O_RDONLY | os.O_NONBLOCK)
    try:
        eventually(lambda: _drained(reader, writer), 20)
        log.hear("o", b"after\n")
        closed(writer)
    finally:
        os.close(reader)
    spool.remove(folder.parent, kept(folder)[0])  # what the pipe has become
    assert lines(folder)[-1] == "after"
    [last] = [portion for portion in kept(folder) if portion.head.lines == 1]
    assert last.head.first_byte == before + 100 * len(block)  # what is missing shows in its place


def _drained(reader: int, writer: Spooler) -> bool:
    with contextlib.suppress(BlockingIOError):
        os.read(reader, 1 << 20)
    return writer._waiting == 0


def test_the_death_of_the_thread_costs_the_log_and_nobody_waits_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(spool, "write", broken)
    writer = Spooler(folder)
    log = AttemptLog(writer.take)
    log.hear("o", b"x\n")
    eventually(lambda: writer.ended, 20)
    for _ in range(20):
        log.hear("o", (b"x" * 1023 + b"\n") * 1024)
        assert writer.room
    assert writer._waiting < MOST_WAITING
    assert "thread died" in caplog.text and "what comes now is lost" in caplog.text
    assert log.recent.lines()[-1] == "x" * 1000  # rules still see it


def test_what_cannot_be_read_back_is_left_alone(tmp_path: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "7.draft").touch()
    (folder / "notes.txt").touch()
    (tmp_path / "notes").mkdir()
    assert spool.portions(tmp_path, JOB, 1) == []
    assert spool.attempts(tmp_path) == [(JOB, 1)]
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert spool.attempts(tmp_path / "nowhere") == []
