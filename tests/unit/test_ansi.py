"""What programs write for terminals: colours are kept as pens, the rest is never shown as rubbish."""

from __future__ import annotations

import pytest

from app.pool.log.ansi import Pen, colours_only, plain_text, runs
from app.web.pages.log.html import line_html

E = "\x1b"


@pytest.mark.parametrize(
    ("escape", "pen"),
    [
        ("31", Pen(1)),
        ("97", Pen(15)),
        ("42", Pen(None, 2)),
        ("103", Pen(None, 11)),
        ("1;4;36", Pen(6, None, frozenset({"bold", "underlined"}))),
        ("38;5;9", Pen(9)),
        ("38;5;196", Pen(9)),  # of the cube: pure red
        ("48;5;244", Pen(None, 7)),  # of the greys
        ("38;2;10;180;10", Pen(2)),
        ("38;2;0;0;0", Pen(0)),
        ("38:2::10:180:10", Pen(2)),
        ("38:5:12;1", Pen(12, None, frozenset({"bold"}))),
        ("38;2;10;180;10;1", Pen(2, None, frozenset({"bold"}))),  # what follows a shade is read on
        ("1;22", Pen()),
        ("4:3", Pen(None, None, frozenset({"underlined"}))),
        ("31;41;39", Pen(None, 1)),
        ("31;0", Pen()),
        ("31;", Pen()),
        ("58;99999999999999999999", Pen()),
        ("38;5", Pen()),
    ],
)
def test_a_pen_is_read_from_its_escape(escape: str, pen: Pen) -> None:
    assert runs(f"{E}[{escape}mtext") == ([(pen, "text")], pen)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"{E}]0;a title\x07text", "text"),
        (f"{E}]8;;https://example.org{E}\\a link{E}]8;;{E}\\ and more", "a link and more"),
        (f"{E}]2;a title\x9ctext", "text"),
        (f"a{E}[2K{E}[1G{E}[?25l{E}[10;20Hb{E}[K", "ab"),
        (f"{E}(B{E}=a{E}7{E}8b{E}M", "ab"),
        (f"{E}P1$r0m{E}\\text{E}_apc{E}\\", "text"),
        ("\x9b31mred\x9b0m", "red"),
        ("nul \x00 bell \x07 delete \x7f tab\tend", "nul  bell  delete  tab\tend"),
        (f"cut off {E}[3", "cut off "),
        (f"{E}]a title that does not end", "a title that does not end"),
        ("|\b/\b-\b", "-"),
        ("done\b\b\b\b", "done"),
        ("\b\bx", "x"),
        ("50 %\r60 %\r", "60 %"),
        ("line of Windows\r", "line of Windows"),
        ("plain <b>&amp; ümläut 日本", "plain <b>&amp; ümläut 日本"),
        ("", ""),
    ],
)
def test_all_but_colours_is_left_out(line: str, shown: str) -> None:
    assert plain_text(line) == shown


def test_a_colour_goes_on_until_it_is_ended_line_by_line() -> None:
    _, pen = runs(f"{E}[31mone")
    assert runs(f"two{E}[m three", pen) == ([(Pen(1), "two"), (Pen(), " three")], Pen())


def test_a_terminal_gets_colours_and_nothing_that_moves_its_cursor() -> None:
    assert colours_only(f"{E}[1;31mred{E}[0m{E}[2J{E}]0;title\x07\x00") == f"{E}[1;31mred{E}[0m"


def test_html_is_escaped_and_coloured_by_classes() -> None:
    html, _ = line_html(f'<script>{E}[1;31m"red"&{E}[0m')
    assert html == '&lt;script&gt;<span class="colour-1 bold">&#34;red&#34;&amp;</span>'
    assert line_html(f"{E}[30;42mPASS{E}[0m")[0] == '<span class="ground-2">PASS</span>'
    assert line_html(f"{E}[7mx{E}[27;31;7my{E}[0m")[0] == (
        '<span class="reversed">x</span><span class="ground-1">y</span>'
    )


def test_a_long_line_of_escapes_takes_time_that_only_grows_with_its_length() -> None:
    # Of each a pattern that backtracks would take minutes.
    for hostile in (f"{E}]" * 50_000, f"{E}[" + "1;" * 50_000, "a\b" * 50_000, f"{E}P" * 50_000, "\x9d" * 50_000):
        assert len(plain_text(hostile)) <= len(hostile)
