"""Which processes on a card belong to attempts of this host's workers."""

from __future__ import annotations

from collections.abc import Set

from agent.processes import WORKER_VARIABLE, environment_of, started_at


class OwnProcesses:
    """The listed processes that belong to attempts; those of another user or PID namespace do not.

    A dying process loses its environment before the driver has given back its memory, so each one that was seen to
    be ours is remembered for as long as the driver lists it.
    """

    def __init__(self) -> None:
        self._seen: dict[int, int | None] = {}  # pid -> when it started

    def has(self, pid: int) -> bool:
        """True when the process belongs to an attempt, or did while it lived."""
        started = started_at(pid)
        if any(entry.startswith(f"{WORKER_VARIABLE}=".encode()) for entry in environment_of(pid)):
            self._seen[pid] = started
            return True
        return pid in self._seen and started in (None, self._seen[pid])

    def keep(self, listed: Set[int]) -> None:
        """Forget every process but these."""
        self._seen = {pid: started for pid, started in self._seen.items() if pid in listed}
