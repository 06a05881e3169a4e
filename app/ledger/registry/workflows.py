"""Workflows: what the registered workers declare they can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.db import Ledger
from app.pool.codec import from_plain
from app.pool.model import WorkerId, Workflow


@dataclass(frozen=True)
class Declaration:
    """A declaration of a workflow, and the workers that make it. Workers may declare one name in several ways."""

    workflow: Workflow
    workers: tuple[WorkerId, ...]


def declared(ledger: Ledger, names: Sequence[str] | None = None) -> list[Declaration]:
    """Every different declaration ordered by name, then the most common first; only of the workflows in `names`."""
    rows = ledger.all("workflows_declared", names=None if names is None else list(names))
    return [Declaration(from_plain(Workflow, row["declared"]), tuple(row["workers"])) for row in rows]
