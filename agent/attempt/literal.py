"""What a line must hold, word for word, to match a regular expression: looked for first, since that is cheap.

Only what is certain counts: nothing of groups, and nothing at all of alternatives or of flags within the pattern.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FLAGS = re.compile(r"\(\?([aimsu]+)\)")
_FLAGS_WITHIN = re.compile(r"\(\?(?:#|[a-zA-Z-]+[):])")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.S)
_TIMES = re.compile(r"\{[0-9]*,?[0-9]*\}")
_MEANS_MORE = frozenset("xuUN0123456789")  # escapes that have more than one character after the backslash


class Literal(NamedTuple):
    """Text that each match holds; `folded`: in whatever case, and then it is in lower case."""

    text: str
    folded: bool


def required(pattern: str) -> Literal | None:
    """The longest text that each match of a valid pattern must hold; None where none is known."""
    flags = _FLAGS.match(pattern)
    body = pattern[flags.end() :] if flags else pattern
    folded = flags is not None and "i" in flags[1]
    runs = [] if _FLAGS_WITHIN.search(body) else _runs(body)
    text = max(runs, key=len, default="")
    # Beyond ASCII the case of a letter is not told by its bytes.
    return Literal(text.lower() if folded else text, folded) if text and (text.isascii() or not folded) else None


def _runs(body: str) -> list[str]:
    """The texts outside of groups that stand between what may vary. A repeated character ends one, or is none of it."""
    runs, run, depth, at = [], "", 0, 0
    while at < len(body):
        letter, plain, at = _next(body, at)
        if plain:
            run += letter if not depth else ""
            continue
        if letter == "|" and not depth:
            return []
        depth += (letter == "(") - (letter == ")")
        runs.append(run[:-1] if letter in "*?{" else run)
        run = ""
    return [*runs, run]


def _next(body: str, at: int) -> tuple[str, bool, int]:
    """What stands here, whether it stands for itself, and where the next begins."""
    letter = body[at]
    if letter == "\\":
        escaped = body[at + 1]
        return (letter, False, len(body)) if escaped in _MEANS_MORE else (escaped, not escaped.isalnum(), at + 2)
    if letter == "[" and (found := _CLASS.match(body, at)):
        return letter, False, found.end()
    if letter == "{" and (found := _TIMES.match(body, at)):
        return letter, False, found.end()
    return letter, letter not in "[(){.^$*?+|", at + 1
