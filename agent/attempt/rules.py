"""What the rules of a workflow say of a failed attempt: by its exit code, or by a pattern in its last lines.

A pattern may be such that trying it takes for ever, and Python's `re` cannot be stopped. So patterns are
tried in a process of their own, which is killed when it has not answered in time; then exit codes alone count.
"""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from agent.attempt import gpu_memory
from agent.attempt.reporter import Reporter
from agent.processes import die_with_parent
from app.pool.model import Rule
from app.pool.protocol import Cause, Report

WITHIN_S = 0.5  # several times what 20 ordinary patterns need for all the lines
TOO_SLOW = f"the patterns of this workflow's rules were given up after {WITHIN_S} s"


def ruled(end: Report, rules: Sequence[Rule], reporter: Reporter) -> Report:
    """The end with what follows from it; one that is no failure stays as it is."""
    if end.end != "failed":
        return end
    lines = [*reporter.recent, *reporter.shortened((end.error or "").splitlines())]
    if end.cause == Cause.WORKFLOW and gpu_memory.ran_out(lines):
        end = replace(end, cause=Cause.GPU_MEMORY)
    try:
        rule = _patiently(rules, end.exit_code, lines)
    except TimeoutError:
        reporter.log([TOO_SLOW])
        rule = fitting(rules, end.exit_code, ())
    return replace(end, then=rule.then) if rule else end


def fitting(rules: Sequence[Rule], exit_code: int | None, lines: Sequence[str]) -> Rule | None:
    """The first rule that fits."""
    return next((rule for rule in rules if _fits(rule, exit_code, lines)), None)


def _fits(rule: Rule, exit_code: int | None, lines: Sequence[str]) -> bool:
    if rule.log is None:
        return exit_code is not None and exit_code == rule.exit_code
    pattern = re.compile(rule.log)
    return any(pattern.search(line) for line in lines)


def _patiently(rules: Sequence[Rule], exit_code: int | None, lines: Sequence[str]) -> Rule | None:
    """The same; raises TimeoutError when that takes too long."""
    if all(rule.log is None for rule in rules):
        return fitting(rules, exit_code, lines)
    guard = os.getpid()
    answer, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _try(guard, writing, rules, exit_code, lines)
    os.close(writing)
    try:
        return _heard(answer, rules)
    finally:
        os.close(answer)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _heard(answer: int, rules: Sequence[Rule]) -> Rule | None:
    poll = select.poll()
    poll.register(answer, select.POLLIN)
    if not poll.poll(1000 * WITHIN_S):
        raise TimeoutError
    found = os.read(answer, 1)  # nothing: it could not be tried
    return rules[found[0]] if found and found[0] < len(rules) else None


def _try(guard: int, answer: int, rules: Sequence[Rule], exit_code: int | None, lines: Sequence[str]) -> NoReturn:
    """In the fork: say which rule fits, by its place, and end without any of the guard's farewells."""
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        die_with_parent(signal.SIGKILL, guard)
        rule = fitting(rules, exit_code, lines)
        os.write(answer, bytes([rules.index(rule) if rule else len(rules)]))
    finally:
        os._exit(0)
