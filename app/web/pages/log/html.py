"""A line of a log as HTML: escaped, its colours as classes of the style sheet. PURE."""

from __future__ import annotations

from markupsafe import Markup, escape

from app.pool.log.ansi import PLAIN, REVERSED, Pen, runs


def line_html(line: str, pen: Pen = PLAIN) -> tuple[Markup, Pen]:
    """The line, and the pen with which the next line of its stream begins."""
    pieces, after = runs(line, pen)
    return Markup("").join(_piece(pen, text) for pen, text in pieces), after


def _piece(pen: Pen, text: str) -> Markup:
    names = _classes(pen)
    return Markup('<span class="{}">{}</span>').format(names, text) if names else escape(text)


def _classes(pen: Pen) -> str:
    colour, ground = pen.colour, pen.ground
    styles = pen.styles
    if REVERSED in styles and (colour is not None or ground is not None):
        colour, ground, styles = ground, colour, styles - {REVERSED}
    # On a coloured ground text keeps the page's own colour: a pair that a program chose may be unreadable here.
    named = [f"ground-{ground}"] if ground is not None else [f"colour-{colour}"] if colour is not None else []
    return " ".join([*named, *sorted(styles)])
