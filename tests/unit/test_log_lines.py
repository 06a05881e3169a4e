"""Lines of a log: what a program writes in whatever pieces, as whole lines with their place, and the last of them."""

from __future__ import annotations

import random
import time

import pytest

from agent.log.attempt_log import AttemptLog, Passage
from agent.log.last_lines import LINES, LastLines
from agent.log.lines import CUT, Lines
from app.pool.model import LIMITS

MOST = LIMITS.log_line_bytes


def heard(*chunks: bytes) -> bytes:
    """All lines of these chunks, the last one too."""
    lines = Lines()
    return b"".join([*map(lines.feed, chunks), lines.finish()])


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"one\ntwo\n"], b"one\ntwo\n"),
        ([b"one\ntw", b"", b"o\nlast words"], b"one\ntwo\nlast words\n"),
        ([b"dos\r", b"\nends\r\n"], b"dos\nends\n"),
        ([b"\r 10%\r 20%", b"\r100%\ndone\n"], b"100%\ndone\n"),
        ([b"10%\r", b"20%\r", b"\n"], b"20%\n"),
        ([b"100%\r    \r", b"done\n"], b"done\n"),
        ([b"100%\r    \r"], b"100%\n"),
        ([b"bar\r\rbar 2\r"], b"bar 2\n"),
        ([b"\r", b"\n\n"], b"\n\n"),
        ([b"a\x00b\xff\xfe\n"], b"a\x00b\xff\xfe\n"),
        ([], b""),
    ],
)
def test_a_stream_is_taken_apart_at_its_line_ends_and_bars_leave_their_newest_state(
    chunks: list[bytes], lines: bytes
) -> None:
    assert heard(*chunks) == lines


def test_it_does_not_matter_where_a_stream_is_cut_into_pieces() -> None:
    said = b"plain\n\rbar 1\rbar 2\r\n" + b"x" * (MOST + 9) + b"\rshort\nend\r\n" + "é".encode() * MOST + b"\n\n\rlast"
    whole = heard(said)
    chance = random.Random(8)
    for _ in range(300):
        cuts = sorted(chance.choices(range(len(said)), k=12))
        pieces = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
        assert heard(*pieces) == whole


def test_a_long_line_is_cut_with_a_mark_between_two_characters_and_its_neighbours_stay() -> None:
    for shift in ("", "a"):
        long = (shift + "é" * 500_000).encode()
        first, cut, last = heard(b"before\n", long[:70_001], long[70_001:], b"\nafter\n").splitlines()
        assert (first, last) == (b"before", b"after")
        assert MOST - 3 <= len(cut) <= MOST and cut.endswith(CUT)
        assert set(cut.removesuffix(CUT).decode()) == {*shift, "é"}


@pytest.mark.parametrize("length", [MOST - 1, MOST])
def test_a_line_of_the_most_bytes_is_kept_whole(length: int) -> None:
    assert heard(b"a\n", b"x" * length + b"\n", b"b\n") == b"a\n" + b"x" * length + b"\nb\n"


def test_an_unfinished_line_costs_no_more_memory_than_a_line_may_have() -> None:
    lines = Lines()
    for _ in range(1000):
        assert lines.feed(b"x" * 10_000) == b""
    assert len(lines._rest) <= MOST + 2
    assert len(lines.unfinished) <= MOST


@pytest.fixture
def passages() -> list[Passage]:
    return []


@pytest.fixture
def log(passages: list[Passage]) -> AttemptLog:
    return AttemptLog(passages.append)


def test_each_block_has_its_place_in_the_log_whatever_stream_it_is_of(log: AttemptLog, passages: list[Passage]) -> None:
    log.hear("o", b"one\ntwo\nunfinished")
    log.hear("e", b"oops\n")
    log.remark("Muster says\ntwo things")
    log.finish()
    assert [
        (passage.stream, passage.text, passage.lines, passage.first_line, passage.first_byte) for passage in passages
    ] == [
        ("o", b"one\ntwo\n", 2, 1, 0),
        ("e", b"oops\n", 1, 3, 8),
        ("m", b"Muster says\ntwo things\n", 2, 4, 13),
        ("o", b"unfinished\n", 1, 6, 36),
    ]
    assert log.bytes == 47
    assert log.recent.lines() == ["one", "two", "oops", "Muster says", "two things", "unfinished"]


def test_the_state_of_a_bar_is_shown_now_and_then_and_the_last_one_as_a_line(
    log: AttemptLog, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for tick in range(91):  # nine seconds of a bar that moves ten times in each
        log.hear("e", b"\r%d%%" % tick)
        log.show_unfinished()
        now[0] += 0.1
    log.show_unfinished()
    log.hear("e", b"\rdone\n")
    shown = [(passage.stream, passage.text) for passage in passages]
    assert len(shown) == 5 and all(stream == "E" for stream, _ in shown[:-1])
    assert shown[-1] == ("e", b"done\n")
    assert log.recent.lines() == ["done"]


def test_a_question_without_a_line_end_is_shown_once(
    log: AttemptLog, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log.hear("o", b"Password: ")
    for _ in range(10):
        log.show_unfinished()
        now[0] += 1
    assert [(passage.stream, passage.text) for passage in passages] == [("O", b"Password: \n")]


def test_what_flows_is_not_shown_as_unfinished_where_it_happens_to_be_cut(
    log: AttemptLog, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in range(100):
        log.hear("o", b"half\nhal")
        log.show_unfinished()
        now[0] += 0.5
    assert {passage.stream for passage in passages} == {"o"}


def test_the_last_lines_are_known_however_much_was_said_and_no_more_is_kept() -> None:
    recent = LastLines()
    for number in range(200):
        recent.add(b"".join(b"line %d\n" % (1000 * number + each) for each in range(1000)), 1000)
    assert recent.lines() == [f"line {number}" for number in range(199_000, 200_000)]
    assert sum(lines for _, lines in recent._blocks) < 3 * LINES


def test_last_lines_may_come_one_by_one() -> None:
    recent = LastLines()
    for number in range(3 * LINES):
        recent.add(b"%d\n" % number, 1)
    assert recent.lines() == [str(number) for number in range(2 * LINES, 3 * LINES)]
