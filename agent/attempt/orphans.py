"""Orphans: what a dead guard has left behind.

A guard is the subreaper of its attempt, so whatever its workflow started is below it, and falls to main in the
moment in which the guard dies. Main therefore looks only once the guard is known to be dead: before, it would find
nothing and report the end of an attempt that still runs. Beside its children it looks for what carries the attempt
in its environment.
"""

from __future__ import annotations

from pathlib import Path

from agent.attempt.handle import AttemptHandle
from agent.processes import carried_by, descendants, state_of

THREADS = Path("/proc/self/task")


def remains_of(handle: AttemptHandle, spared: set[int]) -> set[int]:
    """Living processes that this attempt, or some other whose guard has died, has left. The guard must be dead."""
    return carried_by(handle.job, handle.attempt) | strays(spared)


def strays(spared: set[int]) -> set[int]:
    """Living children of ours that are not among the spared, and what descends from them."""
    seen: set[int] | None = None
    # A child that dies while it is looked at leaves its own children to us, behind it in the list: that is read
    # until it stays the same. Nobody else waits for our children, so the dead ones stay in it meanwhile.
    while (children := _children() - spared) != seen:
        if living := {pid for child in children for pid in descendants(child) | _living(child)}:
            return living
        seen = children
    return set()


def _children() -> set[int]:
    """Our direct children, without a look at every process of the host."""
    texts = [(thread / "children").read_text() for thread in THREADS.iterdir()]
    return {int(pid) for text in texts for pid in text.split()}


def _living(pid: int) -> set[int]:
    state = state_of(pid)
    return {pid} if state and state[0] not in "ZX" else set()
