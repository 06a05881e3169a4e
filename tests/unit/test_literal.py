"""What a line must have to match a pattern: never more than is certain, or matches would be passed over."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from agent.attempt.literal import required

PIECES = (
    *(
        "a",
        "bc",
        "Lic",
        "é",
        r"\.",
        r"\d",
        r"\x41",
        "[ab]",
        r"[^\]x]",
        "[]|]",
        "(de)?",
        "(fg)",
        "(h(i)*j)",
        "k*",
        "lm?",
    ),
    *(
        "n+",
        "op{2}",
        "q{0,1}",
        "r{0}",
        "s{",
        "}",
        ".",
        ".*",
        "^",
        "$",
        r"\b",
        r"\\",
        "(?:tu)",
        "(?=v)v",
        "w|x",
        "(y|zz)",
        "A*?",
        "(?!B)C",
    ),
)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("are missing", "are missing"),
        (r"Error: \d+ frames? lost", "Error: "),
        (r"cannot (read|write)", "cannot "),
        (r"\brender(?:ed|ing)\b", "render"),
        (r"no (?!worry)problem", "problem"),
        (r"[a|b]lost", "lost"),
        ("lost(?i:x)", None),
        (r"(texture )?not found\.", "not found."),
        (r"colou?r profile", "r profile"),
        (r"^\[ERROR\] ", "[ERROR] "),
        (r"ab+cde*", "ab"),
        (r"x{2}yes", "yes"),
        (r"\x41bcdef", None),
        (r"a\x41bcdef", "a"),
        (r"[a-z]+", None),
        ("a|bcd", None),
        ("(?x) a b c", None),
        ("abc(?#()|def", None),
    ],
)
def test_the_longest_certain_text_is_found(pattern: str, text: str | None) -> None:
    found = required(pattern)
    assert (found and (found.text, found.folded)) == (text and (text, False))


def test_where_case_does_not_count_the_text_is_in_lower_case() -> None:
    assert required("(?i)Licence REFUSED") == ("licence refused", True)
    assert required("(?s)Licence") == ("Licence", False)
    assert required("(?i)Überlauf") is None


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(some.lists(some.sampled_from(PIECES), max_size=6), some.sampled_from(("", "(?i)", "(?s)")), some.data())
def test_whatever_matches_holds_it(pieces: list[str], flags: str, data: some.DataObject) -> None:
    pattern = flags + "".join(pieces)
    try:
        compiled = re.compile(pattern)
    except re.error:
        return
    literal = required(pattern)
    line = data.draw(some.from_regex(compiled))
    if literal and line.isascii():
        assert literal.text in (line.lower() if literal.folded else line), pattern
