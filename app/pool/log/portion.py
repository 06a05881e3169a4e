"""A portion: some consecutive lines of an attempt's log, compressed once by the agent and stored as it is.

Before compression each line is `<ms since 1970> <stream> <text>\\n`. A stream is `o` (standard output), `e` (standard
error) or `m` (Muster's own words); a capital letter marks the state of a bar that redraws itself, which the next line
of its stream supersedes. The text is bytes as the program wrote them, decoded only by who reads it.

Portions of an attempt are numbered from 1. Where some were dropped, the heads of those that are left say how much.
"""

from __future__ import annotations

import typing
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from app.pool.codec import Within

MOST_BYTES = 1024 * 1024  # before compression
MOST_PACKED_BYTES = MOST_BYTES + 64 * 1024  # what cannot be compressed grows a little
LEVEL = 1  # six times faster than the default, for a fifth more bytes

Stream = Literal["o", "e", "m"]
STREAMS = typing.get_args(Stream)
Whole = Annotated[int, Within(0, 2**53)]


@dataclass(frozen=True)
class PortionHead:
    """A portion's place in its log. Texts' bytes count with their line ends."""

    number: Annotated[int, Within(1, 2**31 - 1)]
    first_line: Annotated[int, Within(1, 2**53)]  # the number of its first line, from 1
    lines: Whole
    first_byte: Whole  # text bytes of the log before it
    bytes: Whole  # text bytes in it
    closed: bool = False  # it is the last of its attempt


@dataclass(frozen=True)
class PortionLine:
    """One line of a portion."""

    at_ms: int  # by the clock of the worker's host
    stream: Stream
    redraw: bool
    text: str


def stamped(at_ms: int, stream: str, block: bytes) -> bytes:
    """Whole lines of a stream that were read at one moment, as a portion holds them; `block` ends with a line end.

    `stream` is a capital letter for the state of a bar.
    """
    mark = b"%d %s " % (at_ms, stream.encode())
    return mark + block[:-1].replace(b"\n", b"\n" + mark) + b"\n"


def pack(lines: bytes) -> bytes:
    """The portion of these stamped lines."""
    return zlib.compress(lines, LEVEL)


def numbered(packed: bytes, skip: int = 0) -> Iterator[tuple[int, PortionLine]]:
    """The lines of a portion after the first `skip`, each with its place from 0.

    What cannot be read is left out, since its agent alone is to blame.
    """
    for place, line in enumerate(unpacked(packed).split("\n")[skip:-1], skip):
        if read := line_of(line):
            yield place, read


def unpacked(packed: bytes) -> str:
    """The stamped lines of a portion; empty where it cannot be read."""
    # Portions that were made of the lines of an earlier release are not compressed.
    if packed[:1].isdigit():
        return packed.decode(errors="replace")
    try:
        return zlib.decompressobj().decompress(packed, MOST_BYTES).decode(errors="replace")
    except zlib.error:
        return ""


def line_of(stamped: str) -> PortionLine | None:
    """A line without its stamp; None where it has none."""
    at, _, rest = stamped.partition(" ")
    stream, _, text = rest.partition(" ")
    kind = stream.lower()
    if at.isascii() and at.isdigit() and len(at) < 16 and kind in STREAMS:
        return PortionLine(int(at), kind, stream != kind, text)  # type: ignore[arg-type]
    return None
