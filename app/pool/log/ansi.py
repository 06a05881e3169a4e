"""What a program writes for a terminal, read for those who have none: colours as pens, all else left out. PURE.

A pen knows the sixteen colours that every terminal has; a colour of the 256 or of any other shade is taken for the
nearest of them, so that a page can choose shades that are readable on its ground. Moves of the cursor, titles, links
(not their text) and control characters are left out.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

SPECIAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)([0-?]*)[ -/]*([@-~])?"  # parameters and the letter that ends them
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x80-\x9f\n]*(?:\x07|\x1b\\|\x9c)"  # titles, links
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x80-\x9f\n]*(?:\x1b\\|\x9c)"  # strings for devices
    r"|\x1b[ -/]+[0-~]?|\x1b[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # what is left of controls; a line end and a tab stay
)
BOLD, DIM, ITALIC, UNDERLINED, REVERSED, STRUCK = "bold", "dim", "italic", "underlined", "reversed", "struck"
ON = {1: BOLD, 2: DIM, 3: ITALIC, 4: UNDERLINED, 7: REVERSED, 9: STRUCK, 21: UNDERLINED}
OFF = {22: {BOLD, DIM}, 23: {ITALIC}, 24: {UNDERLINED}, 27: {REVERSED}, 29: {STRUCK}}
GREYISH = 0.2  # saturation below which a colour is a shade of grey
HUES = (1, 3, 2, 6, 4, 5)  # red, yellow, green, cyan, blue, magenta: every 60 degrees
BRIGHT = 8  # added to a colour's number


@dataclass(frozen=True)
class Pen:
    """How text is written; a colour is 0 to 15, None for the ground's own."""

    colour: int | None = None
    ground: int | None = None
    styles: frozenset[str] = frozenset()


PLAIN = Pen()


def without_escapes(lines: str) -> str:
    """These lines without escapes and control characters."""
    return ESCAPE.sub("", lines) if SPECIAL.search(lines) else lines


def colours_only(line: str) -> str:
    """A line whose only escapes are those that choose a pen: a terminal shows it and does nothing else."""
    return ESCAPE.sub(lambda escape: escape[0] if escape[2] == "m" else "", line) if SPECIAL.search(line) else line


def plain_text(line: str) -> str:
    """A line as a terminal without colours shows it."""
    return "".join(text for _, text in runs(line)[0]) if SPECIAL.search(line) else line


def runs(line: str, pen: Pen = PLAIN) -> tuple[list[tuple[Pen, str]], Pen]:
    """The pieces of a line, each with its pen, and the pen with which the stream's next line begins."""
    if not SPECIAL.search(line):
        return [(pen, line)] if line else [], pen
    found: list[tuple[Pen, str]] = []
    at, line = 0, _overwritten(line)
    for escape in ESCAPE.finditer(line):
        if escape.start() > at:
            found.append((pen, line[at : escape.start()]))
        at = escape.end()
        if escape[2] == "m":
            pen = _changed(pen, escape[1])
    if line[at:]:
        found.append((pen, line[at:]))
    return found, pen


def _overwritten(line: str) -> str:
    """The line as it is once the cursor went back in it; with its colours where it went back as a whole only."""
    line = line.rstrip("\r").rpartition("\r")[2]
    if "\b" not in line:
        return line
    cells: list[str] = []
    at = 0
    for letter in "\b".join(without_escapes(part) for part in line.split("\b")):
        if letter == "\b":
            at = max(0, at - 1)
        else:
            cells[at : at + 1] = letter
            at += 1
    return "".join(cells)


def _changed(pen: Pen, parameters: str) -> Pen:
    """The pen after these parameters of "select graphic rendition"; what is not known changes nothing."""
    codes = iter(parameters.split(";"))
    for code in codes:
        number, *rest = (_number(part) for part in code.split(":"))
        if number in (38, 48):
            shade = _shade(iter(rest[:1] + rest[1:][-3:]) if rest else map(_number, codes))
            pen = replace(pen, colour=shade) if number == 38 else replace(pen, ground=shade)
        elif number == 0:
            pen = PLAIN
        elif number in ON:
            gone = rest[:1] == [0]  # 4:0
            pen = replace(pen, styles=pen.styles - {ON[number]} if gone else pen.styles | {ON[number]})
        elif number in OFF:
            pen = replace(pen, styles=pen.styles - OFF[number])
        else:
            pen = _coloured(pen, number)
    return pen


def _coloured(pen: Pen, number: int) -> Pen:
    tens, colour = divmod(number, 10)
    bright = BRIGHT if tens in (9, 10) else 0
    if tens in (3, 9) and (colour < 8 or number == 39):
        return replace(pen, colour=None if number == 39 else colour + bright)
    if tens in (4, 10) and (colour < 8 or number == 49):
        return replace(pen, ground=None if number == 49 else colour + bright)
    return pen


def _shade(numbers: Iterator[int]) -> int | None:
    """The nearest of the sixteen to what follows 38 or 48: `5;n`, or `2;red;green;blue`."""
    kind = next(numbers, 0)
    if kind == 2:
        red, green, blue = (min(255, next(numbers, 0)) for _ in range(3))
        return _nearest(red, green, blue)
    number = next(numbers, 256)
    if kind != 5 or number > 255:
        return None
    if number < 16:
        return number
    if number >= 232:
        grey = 8 + 10 * (number - 232)
        return _nearest(grey, grey, grey)
    steps = (0, 95, 135, 175, 215, 255)
    cube = number - 16
    return _nearest(steps[cube // 36], steps[cube // 6 % 6], steps[cube % 6])


def _nearest(red: int, green: int, blue: int) -> int:
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    if saturation < GREYISH or value < GREYISH:
        return (0, BRIGHT, 7, 7 + BRIGHT)[min(3, int(4 * value))]
    return HUES[round(6 * hue) % 6] + (BRIGHT if value > 0.8 else 0)


def _number(text: str) -> int:
    return int(text[:9]) if text.isdigit() else 0
