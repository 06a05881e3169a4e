"""What the rules of a workflow say of a failed attempt: by its exit code, or by a pattern in its last lines.

A pattern may backtrack for ever. All patterns together therefore have a time limit, and when it is over
exit codes alone count. Should the limit fail, main kills a guard that is silent for 3 s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agent.attempt.reporter import Reporter
from agent.attempt.time_limit import within
from agent.gpus import out_of_memory
from agent.log.last_lines import shortened
from app.pool.model import LIMITS, Rule
from app.pool.protocol import Cause, Report
from app.pool.status import ended_words

WITHIN_S = 0.5  # several times what 20 ordinary patterns need for all the lines
TOO_SLOW = f"the patterns of this workflow's rules were given up after {WITHIN_S} s"


def apply_rules(end: Report, rules: Sequence[Rule], reporter: Reporter) -> Report:
    """The end, with what the rules say is to follow, before what its workflow said. Only a failure is judged.

    Call it in the main thread only.
    """
    if end.end != "failed":
        return end
    lines = [*reporter.recent, *shortened((end.error or "").splitlines())]
    if end.cause == Cause.WORKFLOW and out_of_memory.ran_out(lines):
        end = replace(end, cause=Cause.GPU_MEMORY)
    try:
        with within(WITHIN_S):
            found = first_match(rules, end.exit_code, lines)
    except TimeoutError:
        reporter.remark(TOO_SLOW)
        found = first_match(rules, end.exit_code, ())
    return replace(end, then=found[0].then, because=found[1]) if found else end


def first_match(rules: Sequence[Rule], exit_code: int | None, lines: Sequence[str]) -> tuple[Rule, str] | None:
    """The first rule that fits, and what it fits: a line, or the exit code in words; None when none does."""
    fitting = ((rule, _fitted(rule, exit_code, lines)) for rule in rules)
    return next(((rule, what) for rule, what in fitting if what is not None), None)


def _fitted(rule: Rule, exit_code: int | None, lines: Sequence[str]) -> str | None:
    if rule.log is None:
        return ended_words(exit_code) if exit_code is not None and exit_code == rule.exit_code else None
    pattern = re.compile(rule.log)
    return next((line.strip()[: LIMITS.text_characters] for line in lines if pattern.search(line)), None)
