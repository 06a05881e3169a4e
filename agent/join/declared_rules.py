"""What workflows.toml says of failures: rules of what follows from one, and lines that make a success one."""

from __future__ import annotations

import re
import typing
from typing import Any

from app.pool.model import Then

THENS = typing.get_args(Then)
MOST_RULES = 20
MOST_FAIL_WHEN = 10
MOST_PATTERN_CHARACTERS = 200


def check(rules: Any) -> None:
    """Raise ValueError when these are no rules; each of them is known to be a table with known keys."""
    if not isinstance(rules, list) or len(rules) > MOST_RULES:
        raise ValueError(f"rules must be a list of at most {MOST_RULES}")
    for place, rule in enumerate(rules, 1):
        if rule.get("then") not in THENS:
            raise ValueError(f"rule {place}: then must be one of {', '.join(THENS)}")
        if ("exit_code" in rule) == ("log" in rule):
            raise ValueError(f"rule {place}: name exit_code or log, and only one of them")
        problem = _exit_code(rule["exit_code"]) if "exit_code" in rule else _pattern(rule["log"])
        if problem:
            raise ValueError(f"rule {place}: {problem}")


def check_fail_when(patterns: Any) -> None:
    """Raise ValueError when these say no lines by which a success becomes a failure; each is known to be a table."""
    if not isinstance(patterns, list) or len(patterns) > MOST_FAIL_WHEN:
        raise ValueError(f"fail_when must be a list of at most {MOST_FAIL_WHEN}")
    for place, each in enumerate(patterns, 1):
        if problem := _pattern(each.get("log")):
            raise ValueError(f"fail_when {place}: {problem}")


def _exit_code(code: Any) -> str | None:
    # Not 0, which is success, and nothing that is not the exit code of a process.
    good = isinstance(code, int) and not isinstance(code, bool) and 1 <= code <= 255
    return None if good else "exit_code must be a whole number from 1 to 255"


def _pattern(pattern: Any) -> str | None:
    if not isinstance(pattern, str) or not 1 <= len(pattern) <= MOST_PATTERN_CHARACTERS:
        return f"log must be a regular expression of 1 to {MOST_PATTERN_CHARACTERS} characters"
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"log is no regular expression: {error}"
    return None
