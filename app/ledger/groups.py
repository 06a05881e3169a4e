"""Groups: named sets of workers that a job may be bound to.

A group that is renamed or deleted leaves its row behind, because ended jobs name it. A rename makes a new group,
which takes over members and jobs. Pin a group before you bind a job or worker to it, in the same transaction: then
nothing is bound to a group that is just being deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from app.ledger.db import Ledger
from app.ledger.registry import setups
from app.pool.codec import to_json
from app.pool.errors import BadFields
from app.pool.model import Worker, WorkerId


@dataclass(frozen=True)
class Group:
    """A group, its members, and how many jobs are bound to it: waiting ones have not started."""

    name: str
    strategy: str | None  # None: the pool's
    workers: tuple[WorkerId, ...]
    waiting: int
    running: int
    created_at: datetime

    @property
    def version(self) -> str:
        """The version token of what people set (name, strategy, members); its ETag is made of it."""
        return sha256(to_json([self.name, self.strategy, sorted(self.workers)]).encode()).hexdigest()[:16]


def names(ledger: Ledger) -> list[str]:
    """Every group's name."""
    return [row["name"] for row in ledger.all("groups_names")]


def strategies(ledger: Ledger) -> dict[str, str]:
    """The strategies of groups that do not follow the pool's, by the group's name."""
    return {row["name"]: row["strategy"] for row in ledger.all("groups_strategies")}


def listed(ledger: Ledger) -> list[Group]:
    """Every group by name."""
    return _groups(ledger, None)


def find(ledger: Ledger, name: str) -> Group | None:
    """The group, or None."""
    return next(iter(_groups(ledger, name)), None)


def successor(ledger: Ledger, name: str) -> str | None:
    """The group that took over the jobs of this one: itself while it exists; None when they wait for it."""
    row = ledger.one("group_successor", name=name)
    return row["name"] if row else None


def pin(tx: Ledger, wanted: Iterable[str]) -> list[str]:
    """Keep these groups from being deleted until the transaction ends; returns the names that do not exist."""
    wanted = set(wanted)
    there = {row["name"] for row in tx.all("groups_pin", names=list(wanted))} if wanted else set()
    return sorted(wanted - there)


def lock(tx: Ledger, *which: str) -> bool:
    """Lock these groups for a change, always in one order; False when one of them does not exist."""
    return len(tx.all("groups_lock", names=list(which))) == len(set(which))


def create(tx: Ledger, name: str, strategy: str | None) -> bool:
    """A new group; False when there is one of this name."""
    return tx.one("group_create", name=name, strategy=strategy) is not None


def set_strategy(tx: Ledger, name: str, strategy: str | None) -> None:
    """Give a locked group another strategy; None: the pool's."""
    tx.do("group_set_strategy", name=name, strategy=strategy)


def fill(tx: Ledger, name: str, members: Sequence[WorkerId], actor: str) -> None:
    """Make exactly these workers the members of a locked group. Raises BadFields naming those that cannot be."""
    group = find(tx, name)
    assert group is not None
    wanted = frozenset(members)

    def new_setup(worker: Worker) -> setups.Setup:
        others = tuple(each for each in worker.groups if each != name)
        mine = (name,) if worker.id in wanted else ()
        return replace(setups.setup_of(worker), groups=tuple(sorted((*others, *mine))))

    changes = setups.change(tx, sorted(wanted ^ frozenset(group.workers)), new_setup, actor)
    refused = {id_: f"{each.worker.name} {each.refused}" for id_, each in changes.items() if each.refused}
    if refused:
        places = [(f"/workers/{place}", refused[id_]) for place, id_ in enumerate(members) if id_ in refused]
        raise BadFields(*places)


def rename(tx: Ledger, name: str, to: str) -> bool:
    """Let a new group take over a locked one's members, strategy and jobs that have not ended.

    False when there is one of the new name.
    """
    if not create(tx, to, strategies(tx).get(name)):
        return False
    tx.do("group_members_rename", name=name, to=to)
    _end(tx, name, to)
    return True


def delete(tx: Ledger, name: str, move_to: str | None) -> None:
    """Delete a locked group; its open jobs go to the group `move_to`, or wait until this one is made again."""
    tx.do("group_members_drop", name=name)
    _end(tx, name, move_to)


def _end(tx: Ledger, name: str, moved_to: str | None) -> None:
    tx.do("group_end", name=name, moved_to=moved_to)
    if moved_to is not None:
        tx.do("group_jobs_move", name=name, to=moved_to)


def _groups(ledger: Ledger, name: str | None) -> list[Group]:
    return [
        Group(row["name"], row["strategy"], tuple(row["workers"]), row["waiting"], row["running"], row["created_at"])
        for row in ledger.all("groups_listed", name=name)
    ]
