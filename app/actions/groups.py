"""Groups: make, change, delete. Whoever deletes a group that jobs wait for must say what becomes of those jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.actions import versions
from app.actions.actor import Actor
from app.actions.errors import Conflict, Missing
from app.actions.services import Services
from app.actions.versions import Matches
from app.ledger import events, groups
from app.ledger.db import Ledger
from app.ledger.groups import Group
from app.ledger.registry import pauses
from app.pool.errors import BadFields
from app.pool.model import WorkerId
from app.pool.status import counted


def find(ledger: Ledger, name: str) -> Group:
    """The group. Raises Missing."""
    found = groups.find(ledger, name)
    if found is None:
        raise Missing("there is no such group")
    return found


def pin(tx: Ledger, names: Iterable[str]) -> None:
    """Keep these groups from being deleted until the transaction ends. Raises BadFields naming missing ones."""
    wanted = list(names)
    missing = groups.pin(tx, wanted)
    if missing:
        named = [(place, name) for place, name in enumerate(wanted) if name in missing]
        raise BadFields(*((f"/groups/{place}", f"there is no group {name}") for place, name in named))


def make(services: Services, actor: Actor, name: str, strategy: str | None, members: Sequence[str]) -> Group:
    """A new group; a deleted one comes back with the jobs that still wait for it. Raises BadFields, Conflict."""
    with services.ledger.transaction() as tx:
        if not groups.create(tx, name, strategy):
            raise Conflict(f"there is a group {name} already")
        events.record(tx, "group.created", f"{actor.name} created the group {name}", actor=actor.name)
        _fill(tx, actor, name, members)
    services.ring_groups()
    return find(services.ledger, name)


def change(
    services: Services, actor: Actor, name: str, changes: Mapping[str, Any], matches: Matches | None = None
) -> Group:
    """The group with these changes, all or none: `name`, `strategy`, `workers`.

    Raises BadFields, Missing, Conflict, and Stale where `matches` refuses the present version.
    """
    with services.ledger.transaction() as tx:
        group = _lock(tx, name, matches)
        strategy = changes.get("strategy", group.strategy)
        if strategy != group.strategy:
            _set_strategy(tx, actor, name, strategy)
        if "workers" in changes:
            _fill(tx, actor, name, changes["workers"])
        renamed = changes.get("name") or name
        if renamed != name:
            _rename(tx, actor, name, renamed)
    services.ring_groups()
    return find(services.ledger, renamed)


def delete(
    services: Services, actor: Actor, name: str, move_to: str | None, force: bool, matches: Matches | None = None
) -> None:
    """Delete the group; its jobs go to the group `move_to`, or with `force` wait for one of this name.

    Raises BadFields, Missing, Stale, and Conflict where jobs wait and neither is given.
    """
    with services.ledger.transaction() as tx:
        group = _lock(tx, name, matches, move_to)
        if group.waiting and not (move_to or force):
            raise Conflict(f"{waiting_words(group)}; name another group for them (move_to), or let them wait (force)")
        groups.delete(tx, name, move_to)
        jobs_after = f"; its jobs go to {move_to}" if move_to else f"; {waiting_words(group)}" if group.waiting else ""
        events.record(tx, "group.deleted", f"{actor.name} deleted the group {name}{jobs_after}", actor=actor.name)
    services.ring_groups()


def waiting_words(group: Group) -> str:
    """How many jobs wait for the group, in words."""
    return f"{counted(group.waiting, 'waiting job', 'is')} bound to {group.name}"


def _lock(tx: Ledger, name: str, matches: Matches | None, move_to: str | None = None) -> Group:
    """The group, held for a change together with the group that its jobs shall go to."""
    if move_to == name:
        raise BadFields(("?move_to", "name another group"))
    both = groups.lock(tx, name, *([move_to] if move_to else []))
    group = find(tx, name)
    if not both:
        raise BadFields(("?move_to", f"there is no group {move_to}"))
    versions.check(matches, group.version)
    return group


def _set_strategy(tx: Ledger, actor: Actor, name: str, strategy: str | None) -> None:
    groups.set_strategy(tx, name, strategy)
    sentence = f"{actor.name} set strategy of {name} = {strategy or 'the pool’s'}"
    events.record(tx, "group.changed", sentence, actor=actor.name)


def _fill(tx: Ledger, actor: Actor, name: str, members: Sequence[str]) -> None:
    ids = [WorkerId(member) for member in members]
    there = pauses.intents(tx, ids)
    errors = [
        (f"/workers/{place}", f"there is no worker {member}") for place, member in enumerate(ids) if member not in there
    ]
    if errors:
        raise BadFields(*errors)
    groups.fill(tx, name, ids, actor.name)


def _rename(tx: Ledger, actor: Actor, name: str, to: str) -> None:
    if not groups.rename(tx, name, to):
        raise Conflict(f"there is a group {to} already")
    events.record(tx, "group.renamed", f"{actor.name} renamed the group {name} to {to}", actor=actor.name)
