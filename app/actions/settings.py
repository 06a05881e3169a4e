"""The pool's settings: a change is made whole or not at all, within the ranges of app/pool/policy.py."""

from __future__ import annotations

from collections.abc import Mapping

from app.actions import versions
from app.actions.actor import Actor
from app.actions.errors import Stale
from app.actions.services import Services
from app.actions.versions import Matches
from app.ledger import events, policy
from app.ledger.db import Ledger
from app.pool.errors import BadRequest
from app.pool.model import Json
from app.pool.policy import Policy, changed


def change(services: Services, actor: Actor, changes: Mapping[str, Json], matches: Matches | None = None) -> Policy:
    """The settings with these changes; agents hear of them with their next heartbeat.

    Raises BadRequest with a pointer for each bad setting, and Stale where `matches` refuses the present version.
    """
    with services.ledger.transaction() as tx:
        written = _write(tx, actor, changes, matches)
        if changes:
            settings = ", ".join(f"{name} = {getattr(written, name)}" for name in changes)
            events.record(tx, "settings.changed", f"{actor.name} set {settings}", actor=actor.name)
    services.ring("settings")
    return written


def _write(tx: Ledger, actor: Actor, changes: Mapping[str, Json], matches: Matches | None) -> Policy:
    present = policy.read(tx)
    seen = policy.version(present)
    try:
        changed(present, changes)  # bad values are told before a stale version
        versions.check(matches, seen)
        # `write` compares the version again under its lock: somebody may have been faster since `read`.
        written = policy.write(tx, changes, actor.name, None if matches is None else seen)
    except BadRequest as error:
        raise BadRequest(str(error), [(f"/{name}", why) for name, why in error.errors]) from error
    if written is None:
        raise Stale
    return written
