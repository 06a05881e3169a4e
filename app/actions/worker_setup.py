"""A worker's setup: tags, groups, narrowing, slots, queue depth; a change is made whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.actions import groups, versions, workers
from app.actions.actor import Actor
from app.actions.services import Services
from app.actions.versions import Matches
from app.ledger.registry import setups
from app.ledger.registry.setups import Setup
from app.pool.errors import BadFields
from app.pool.model import Worker

LISTS = ("tags", "groups", "workflows")
NUMBERS = ("slots", "queue_depth")


def change(
    services: Services, actor: Actor, worker: str, changes: Mapping[str, Any], matches: Matches | None = None
) -> Worker:
    """The worker with these changes; they hold at once for jobs that have not started.

    Raises BadFields, Missing, and Stale where `matches` refuses the present version.
    """
    chosen = workers.find(services.ledger, worker)

    def changed(present: Worker) -> Setup:
        versions.check(matches, setups.version(present))
        _check_narrowing(present, changes.get("workflows", ()))
        return _with(setups.setup_of(present), changes)

    with services.ledger.transaction() as tx:
        groups.pin(tx, changes.get("groups", ()))
        setups.change(tx, [chosen.id], changed, actor.name)
    services.ring_workers([chosen.id])
    return workers.find(services.ledger, worker)


def _with(setup: Setup, changes: Mapping[str, Any]) -> Setup:
    lists = {name: tuple(sorted(set(changes[name]))) for name in LISTS if name in changes}
    numbers = {name: changes[name] for name in NUMBERS if name in changes}
    return Setup(**{**vars(setup), **lists, **numbers})


def _check_narrowing(worker: Worker, narrowing: Sequence[str]) -> None:
    """Refuse workflows that the worker does not offer: it would run nothing, and nobody would see why."""
    offered = {workflow.name for workflow in worker.workflows}
    allowed = offered | set(worker.allowed_workflows)
    errors = [
        (f"/workflows/{place}", f"it does not offer {name}; it offers {', '.join(sorted(offered)) or 'nothing'}")
        for place, name in enumerate(narrowing)
        if name not in allowed
    ]
    if errors:
        raise BadFields(*errors)
