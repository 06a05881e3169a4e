"""Workflows: what the registered workers declare they can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.db import Ledger
from app.pool.codec import from_plain
from app.pool.model import WorkerId, Workflow


@dataclass(frozen=True)
class Declared:
    """One declaration of a workflow, and the workers that make it. A name may be declared in several ways."""

    workflow: Workflow
    workers: tuple[WorkerId, ...]


def declared(ledger: Ledger, names: Sequence[str] | None = None) -> list[Declared]:
    """Every different declaration by name, the most common first; of these workflows, or of all."""
    rows = ledger.all("workflows_declared", names=None if names is None else list(names))
    return [Declared(from_plain(Workflow, row["declared"]), tuple(row["workers"])) for row in rows]
