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


def known(ledger: Ledger, names: Sequence[str] | None = None) -> dict[str, Workflow | None]:
    """Every workflow of these names, or all, that a worker has ever offered, as declared last (None: not kept)."""
    rows = ledger.all("workflows_known", names=None if names is None else list(names)) if names != [] else []
    return {row["name"]: from_plain(Workflow, row["declared"]) if row["declared"] else None for row in rows}


def last_declared(ledger: Ledger, name: str) -> Declaration | None:
    """The commonest declaration of this workflow, else the last one, by no worker; None where none was kept."""
    if present := declared(ledger, [name]):
        return present[0]
    last = known(ledger, [name]).get(name)
    return Declaration(last, ()) if last else None


def not_offered(ledger: Ledger, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """By workflow, the live workers that say why they do not offer it: (name, why)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in ledger.all("workflows_not_offered", names=list(names)):
        found.setdefault(row["workflow"], []).append((row["name"], row["why"]))
    return found
