"""What a dead guard has left behind: what carries its attempt, and what fell to main as the outer subreaper."""

from __future__ import annotations

from pathlib import Path

from agent.attempt.handle import Running
from agent.processes import carried_by, descendants, state_of

CHILDREN = Path("/proc/self/task")


def remains_of(running: Running, spared: set[int]) -> set[int]:
    """Living processes of this attempt. An orphan with a bare environment belongs to some dead guard: it goes too."""
    return carried_by(running.job, running.attempt) | strays(spared)


def strays(spared: set[int]) -> set[int]:
    """Living children of ours that are not among the spared, and what descends from them."""
    found = set()
    for pid in _children() - spared:
        found |= descendants(pid) | _living(pid)
    return found


def _children() -> set[int]:
    """Direct children, without a look at every process of the host."""
    texts = [(each / "children").read_text() for each in CHILDREN.iterdir()]
    return {int(pid) for text in texts for pid in text.split()}


def _living(pid: int) -> set[int]:
    found = state_of(pid)
    return {pid} if found and found[0] not in "ZX" else set()
