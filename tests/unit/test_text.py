"""Text that PostgreSQL cannot hold is refused where somebody learns of it, and replaced where nobody would.

Lines come whole however they were cut, and private files are whole or not there.
"""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.pool.text import LineBuffer, storable, storable_text, unstorable, write_private

WRONG = {"a\0": "holds a NUL character", "a\ud800": "holds half of a surrogate pair"}


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("around", [lambda text: text, lambda text: [[1, text]], lambda text: {"k": {text: None}}])
def test_it_is_found_and_replaced_wherever_it_stands(text: str, around: Any) -> None:
    assert unstorable(around(text)) == WRONG[text]
    assert unstorable(storable(around(text))) is None


def test_each_character_has_one_that_stands_for_it() -> None:
    assert storable_text("a\0b\udc00c") == "a\ufffdb?c"


@pytest.mark.parametrize("value", ["", "é 😀 \n\t", {"k": ["\\u0000", 1, None, 0.5, True]}])
def test_what_can_be_held_stays_as_it_is(value: Any) -> None:
    assert unstorable(value) is None
    assert storable(value) == value


def test_lines_come_whole_however_they_were_cut() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"on") == []
    assert buffer.feed(b"e\ntwo\n\nth") == [b"one", b"two", b""]
    assert buffer.feed(b"ree\n") == [b"three"] and buffer.rest() == []


def test_a_line_that_is_not_finished_is_given_back_at_the_end_or_when_it_grows_too_long() -> None:
    buffer = LineBuffer(longest=4)
    assert buffer.feed(b"1234") == [] and buffer.feed(b"5") == [b"12345"]
    assert buffer.feed(b"\n67") == [b""] and buffer.rest() == [b"67"] and buffer.rest() == []


def test_a_private_file_is_replaced_whole_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "home" / "token"
    for text in ("first", "second"):
        write_private(path, text)
        assert path.read_text() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_of_several_writers_one_wins_where_they_must_agree(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_private(path, str(number), first_wins=True), range(8)))
    text = path.read_text()
    write_private(path, "late", first_wins=True)
    assert path.read_text() == text != "late"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
