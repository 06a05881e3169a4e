"""Printing a log: on a terminal with its colours and with bars that redraw themselves, elsewhere as plain lines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TextIO

from app.cli.log import LogItem
from app.pool.log.ansi import colours_only, plain_text
from app.pool.log.bars import Bars
from app.pool.log.words import missing, stamp

CLEARED = "\r\x1b[K"
RESET = "\x1b[0m"


class LogScreen:
    """Prints items to this stream; of a bar only its newest state is there in the end."""

    def __init__(self, out: TextIO, timestamps: bool = False, environ: Mapping[str, str] = os.environ) -> None:
        self._out = out
        self._timestamps = timestamps
        self._terminal = out.isatty()
        self._colours = self._terminal and not environ.get("NO_COLOR")
        self._stream = ""
        self._bars = Bars[LogItem]()
        self._drawn = False

    def show(self, items: Iterable[LogItem]) -> None:
        """Print them as they come."""
        try:
            for item in items:
                self._show(item)
                self._out.flush()
        finally:
            self._end()

    def _show(self, item: LogItem) -> None:
        if "head" in item:
            self._end()
            self._print(item["head"])
        elif "missing" in item:
            self._print(missing(item["missing"]["lines"], item["missing"]["bytes"]))
        elif line := self._bars.take(item["stream"], item["redraw"], item):
            self._print(self._text(line), line["stream"])
        self._draw()

    def _end(self) -> None:
        """Leave the last state of each bar as a line, and no colour open."""
        for bar in self._bars.pending.values():
            self._print(self._text(bar), bar["stream"])
        self._bars.pending.clear()
        self._print("", end="")

    def _draw(self) -> None:
        """Show the newest bar as the line that the next one is written over."""
        if self._terminal and self._bars.pending:
            bar = [*self._bars.pending.values()][-1]
            width = shutil.get_terminal_size().columns - 1
            self._print(plain_text(bar["line"])[:width], bar["stream"], end="")
            self._drawn = True

    def _print(self, text: str, stream: str = "", end: str = "\n") -> None:
        cleared = CLEARED if self._drawn else ""
        # A colour that a stream left open goes on in its next line, and in nobody else's.
        reset = RESET if self._colours and self._stream != stream else ""
        self._drawn, self._stream = False, stream
        self._out.write(f"{cleared}{reset}{text}{end}")

    def _text(self, item: LogItem) -> str:
        text = colours_only(item["line"]) if self._colours else plain_text(item["line"])
        return f"{stamp(datetime.fromisoformat(item['at']))} {text}" if self._timestamps else text
