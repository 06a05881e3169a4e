"""A log on a terminal and in a pipe: colours and bars for the one, plain lines for the other."""

from __future__ import annotations

import io
from typing import Any

from app.cli.log_screen import CLEARED, RESET, LogScreen

E = "\x1b"


class Terminal(io.StringIO):
    """A terminal that keeps what was written."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def item(text: str, stream: str = "stdout", redraw: bool = False) -> dict[str, Any]:
    return {"attempt": 1, "number": 1, "at": "2026-11-30T14:02:07.123000Z", "stream": stream, "line": text} | {
        "redraw": redraw
    }


def bar(text: str, stream: str = "stderr") -> dict[str, Any]:
    return item(text, stream, redraw=True)


def printed(out: io.StringIO, *items: dict[str, Any], **options: Any) -> str:
    LogScreen(out, environ=options.pop("environ", {}), **options).show(items)
    return out.getvalue()


def test_a_pipe_gets_whole_lines_without_escapes_and_of_a_bar_its_last_state() -> None:
    items = [item(f"{E}[31mred{E}[0m"), bar("10 %"), bar("20 %"), item("out"), bar("30 %"), item("done", "stderr")]
    assert printed(io.StringIO(), *items) == "red\nout\ndone\n"
    assert printed(io.StringIO(), bar("10 %"), item("out"), bar("20 %")) == "out\n20 %\n"


def test_a_terminal_gets_colours_and_a_bar_that_is_rewritten() -> None:
    shown = printed(Terminal(), item(f"{E}[31mred{E}[2J"), bar("10 %"), bar("20 %"), item("out"))
    # A line of the other stream stands above the bar, which is drawn again, and left as a line in the end.
    assert shown.split(CLEARED) == [
        f"{RESET}{E}[31mred\n{RESET}10 %",
        "20 %",
        f"{RESET}out\n{RESET}20 %",
        f"20 %\n{RESET}",
    ]


def test_a_colour_that_a_stream_leaves_open_ends_with_it() -> None:
    shown = printed(Terminal(), item(f"{E}[31mred"), item("red still"), item("plain", "stderr"))
    assert shown == f"{RESET}{E}[31mred\nred still\n{RESET}plain\n{RESET}"


def test_who_wants_no_colour_gets_none() -> None:
    assert printed(Terminal(), item(f"{E}[31mred{E}[0m"), environ={"NO_COLOR": "1"}) == "red\n"


def test_gaps_heads_and_times_are_told() -> None:
    gap = {"attempt": 1, "after": 3, "missing": {"lines": 93_000, "bytes": 380_000_000}}
    shown = printed(io.StringIO(), {"head": "-- attempt 2"}, item("one"), gap, timestamps=True)
    assert shown == "-- attempt 2\n2026-11-30T14:02:07.123Z one\n… 93,000 lines are missing here (362.4 MiB) …\n"
