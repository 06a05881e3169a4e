"""Actors: who asks for something, and what their token allows."""

from __future__ import annotations

from dataclasses import dataclass

from app.pool.model import WorkerId


@dataclass(frozen=True)
class Actor:
    """A person, a program or an agent, by the token that it sent."""

    name: str  # the token's owner; events name it
    role: str  # the token's kind: admin, creator, read, metrics, agent, join
    token: str  # its id
    worker: WorkerId | None = None  # of an agent's token

    @property
    def sees_all(self) -> bool:
        """True when the actor may see hosts and others' jobs; a creator sees only their own jobs."""
        return self.role in ("admin", "read")
