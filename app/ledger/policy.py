"""The pool's settings as the ledger keeps them: only what differs from the defaults of app/pool/policy.py."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from psycopg.types.json import Jsonb

from app.ledger.db import Ledger
from app.pool.codec import to_json
from app.pool.model import Json
from app.pool.policy import DEFAULTS, NAMES, Policy, changed


def read(ledger: Ledger) -> Policy:
    """The present policy; stored settings that this release does not know are ignored."""
    return changed(DEFAULTS, {row["name"]: row["value"] for row in ledger.all("settings_read") if row["name"] in NAMES})


def version(policy: Policy) -> str:
    """The version token of a policy: equal policies have equal tokens; an ETag is made of it."""
    return hashlib.sha256(to_json(policy).encode()).hexdigest()[:16]


def write(ledger: Ledger, changes: Mapping[str, Json], actor: str, known: str | None = None) -> Policy | None:
    """The policy with these changes, all or none; None when its version is no longer `known`.

    Raises BadRequest naming each bad setting and its range.
    """
    with ledger.transaction() as tx:
        tx.do("settings_lock")  # of two people who change what they saw, the second is told
        before = read(tx)
        if known is not None and known != version(before):
            return None
        policy = changed(before, changes)
        for name in changes:
            tx.do("setting_write", name=name, value=Jsonb(getattr(policy, name)), actor=actor)
        return policy
