"""Setups: what people set of workers. One verb serves one worker and thousands, with an event for each.

The worker's row is locked while its new setup is computed from the present one, so two people who change it at once
do not undo each other's change. Each change raises the worker's revision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from app.ledger import events
from app.ledger.db import Ledger
from app.ledger.registry.workers import worker_of
from app.pool.codec import plain
from app.pool.model import LIMITS, Worker, WorkerId


@dataclass(frozen=True)
class Setup:
    """What people set of a worker; None for slots: as its agent offers; for queue_depth: the pool's setting."""

    tags: tuple[str, ...]
    groups: tuple[str, ...]
    workflows: tuple[str, ...]  # the only ones it may run; empty narrows nothing
    slots: int | None
    queue_depth: int | None


@dataclass(frozen=True)
class Change:
    """The outcome of a change of a worker's setup; `refused` says why nothing was changed."""

    worker: Worker  # as it was
    after: Setup
    refused: str | None = None

    @property
    def changed(self) -> bool:
        """True where the setup differs from the former one."""
        return self.after != setup_of(self.worker)


NewSetup = Callable[[Worker], Setup | str]  # what the worker's setup becomes, or why it cannot be changed


def setup_of(worker: Worker) -> Setup:
    """The setup of a worker."""
    return Setup(worker.tags, worker.groups, worker.allowed_workflows, worker.slots_wanted, worker.queue_depth)


def version(worker: Worker) -> str:
    """The version token of the worker's setup; its ETag is made of it, and each change gives a new one."""
    return f"{worker.id}-{worker.revision}"


def change(ledger: Ledger, workers: Sequence[WorkerId], new_setup: NewSetup, actor: str) -> dict[WorkerId, Change]:
    """Change all these workers or none; workers that are not registered are left out of the answer.

    The caller pins groups before, in the same transaction (groups.pin). An error out of `new_setup` undoes everything.
    Raises Unavailable, Collided.
    """
    with ledger.transaction() as tx:
        found = [worker_of(row) for row in tx.all("workers_lock", workers=list(workers))]
        changes = [_change(worker, new_setup) for worker in found]
        _write(tx, [each for each in changes if each.changed], actor)
        return {each.worker.id: each for each in changes}


def words(before: Setup, after: Setup) -> str:
    """What differs between two setups, in words; empty where nothing does."""
    narrowed = ", ".join(after.workflows) or "all that it offers"
    slots = str(after.slots or "as its agent says")
    depth = "the pool's" if after.queue_depth is None else str(after.queue_depth)
    parts = [
        _set_words("tags", before.tags, after.tags),
        _set_words("groups", before.groups, after.groups),
        _value_words("workflows", before.workflows, after.workflows, narrowed),
        _value_words("slots", before.slots, after.slots, slots),
        _value_words("queue depth", before.queue_depth, after.queue_depth, depth),
    ]
    return "; ".join(part for part in parts if part)


def _change(worker: Worker, new_setup: NewSetup) -> Change:
    before, after = setup_of(worker), new_setup(worker)
    refused = after if isinstance(after, str) else _too_many(before, after)
    return Change(worker, before, refused) if isinstance(after, str) or refused else Change(worker, after)


def _too_many(before: Setup, after: Setup) -> str | None:
    """Why a worker cannot become so: more tags or groups than its form takes, and more than it had."""
    for name, was, found in (("tags", before.tags, after.tags), ("groups", before.groups, after.groups)):
        if len(found) > max(LIMITS.tags, len(was)):
            return f"would have {len(found)} {name}; a worker has at most {LIMITS.tags}"
    return None


def _write(tx: Ledger, changes: Sequence[Change], actor: str) -> None:
    if not changes:
        return
    tx.do("workers_set_up", setups=Jsonb([{"id": each.worker.id, **_plain(each.after)} for each in changes]))
    sentences = {
        each.worker.id: f"{actor} changed {each.worker.name}: {words(setup_of(each.worker), each.after)}"
        for each in changes
    }
    events.record_of_workers(tx, "worker.changed", sentences, actor)


def _plain(setup: Setup) -> Mapping[str, object]:
    found: Mapping[str, object] = plain(setup)
    return found


def _set_words(name: str, before: Iterable[str], after: Iterable[str]) -> str:
    added, dropped = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    parts = [f"+ {', '.join(added)}" if added else "", f"− {', '.join(dropped)}" if dropped else ""]
    return f"{name} {' '.join(part for part in parts if part)}" if added or dropped else ""


def _value_words(name: str, before: object, after: object, told: str) -> str:
    return f"{name}: {told}" if before != after else ""
