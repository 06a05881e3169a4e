"""The words of a command: where they are understood, and what is left of what stands around them."""

from __future__ import annotations

import random

import pytest

from agent.runners.words import Words


def told(*chunks: bytes) -> tuple[list[bytes], bytes]:
    """The words in these chunks, and what was passed on."""
    found: list[bytes] = []
    words = Words(found.append)
    return found, b"".join([*map(words.feed, chunks), words.finish()])


@pytest.mark.parametrize(
    ("chunks", "found", "passed"),
    [
        ([b"a\n::progress 0.4 half way\nb\n"], [b"::progress 0.4 half way"], b"a\nb\n"),
        ([b"::progress 0.1\n::checkpoint 7\n"], [b"::progress 0.1", b"::checkpoint 7"], b""),
        ([b"::pro", b"gress 0.1", b"\n"], [b"::progress 0.1"], b""),
        ([b":", b":checkpoint 7\r", b"\nx"], [b"::checkpoint 7"], b"x"),
        # behind a bar on the same stream
        ([b"\r 90%\r100%::checkpoint 7\n\r 10%"], [b"::checkpoint 7"], b"\r 90%\r100%\r 10%"),
        ([b"\r100%", b"::checkpoint 7\n", b"next\n"], [b"::checkpoint 7"], b"\r100%\nnext\n"),
        ([b"\r100%", b"::progress 1\n", b"::checkpoint 7\n"], [b"::progress 1", b"::checkpoint 7"], b"\r100%"),
        ([b"\r100%\r::progress 1\nnext\n"], [b"::progress 1"], b"\r100%\r\nnext\n"),
        # a word that is overwritten itself
        ([b"::progress 0.1\r::progress 0.2\r", b"50%\n"], [b"::progress 0.1", b"::progress 0.2"], b"\r\r50%\n"),
        # behind an unfinished line that was written before
        ([b"Loading...", b"::progress 0.5\n", b" done\n"], [b"::progress 0.5"], b"Loading...\n done\n"),
        # the last word needs no line end
        ([b"x\n::checkpoint 7"], [b"::checkpoint 7"], b"x\n"),
        # no words
        ([b"std::progress 4\n"], [], b"std::progress 4\n"),
        ([b"std::", b"vector a::", b"b\n"], [], b"std::vector a::b\n"),
        ([b"::other 3\n::progress\n"], [], b"::other 3\n::progress\n"),
        ([b"::prog", b"ram\n"], [], b"::program\n"),
        ([b"+ echo ::checkpoint 7\n"], [], b"+ echo ::checkpoint 7\n"),
        ([b"\x00\xff::\n"], [], b"\x00\xff::\n"),
    ],
)
def test_a_word_is_taken_out_where_a_line_or_a_redraw_begins_and_all_else_passes(
    chunks: list[bytes], found: list[bytes], passed: bytes
) -> None:
    assert told(*chunks) == (found, passed)


def test_what_may_become_a_word_is_held_and_all_else_passes_at_once() -> None:
    words = Words(lambda word: None)
    assert words.feed(b"\r 10%") == b"\r 10%"
    assert words.feed(b"working\n::pro") == b"working\n"
    assert words.feed(b"be\n") == b"::probe\n"
    assert words.feed(b"unfinished") == b"unfinished"


def test_a_word_that_never_ends_is_given_up() -> None:
    words = Words(lambda word: None)
    passed = sum(len(words.feed(b"::checkpoint " + b"x" * 60_000)) for _ in range(40))
    assert passed > 30 * 60_000


def test_it_does_not_matter_where_whole_lines_are_cut_into_pieces() -> None:
    said = b'a::b\n::progress 0.1 x\n\rbar\rbar 2::checkpoint {"a": "::"}\n\rbar 3\n::progress 0.2\r\nend:\n' * 3
    whole = told(said)
    assert len(whole[0]) == 9
    chance = random.Random(8)
    for _ in range(500):
        # not in front of a word: there the beginning of a write counts
        places = [at for at in range(1, len(said)) if not said.startswith((b"::progress ", b"::checkpoint "), at)]
        cuts = sorted(chance.sample(places, k=9))
        pieces = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
        assert told(*pieces) == whole
