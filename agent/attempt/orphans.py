"""What a dead guard has left behind: what fell to main as the outer subreaper, and what carries the attempt.

A guard is the subreaper of its attempt, so whatever its workflow started is below it, and falls to main in
the moment in which the guard dies; main therefore looks only once the guard is known to be dead.
"""

from __future__ import annotations

from pathlib import Path

from agent.attempt.handle import AttemptHandle
from agent.processes import carried_by, descendants, state_of

CHILDREN = Path("/proc/self/task")


def remains_of(running: AttemptHandle, spared: set[int]) -> set[int]:
    """Living processes that this attempt, or some other whose guard has died, has left. The guard must be dead."""
    return carried_by(running.job, running.attempt) | strays(spared)


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
    """Direct children, without a look at every process of the host."""
    texts = [(each / "children").read_text() for each in CHILDREN.iterdir()]
    return {int(pid) for text in texts for pid in text.split()}


def _living(pid: int) -> set[int]:
    found = state_of(pid)
    return {pid} if found and found[0] not in "ZX" else set()
