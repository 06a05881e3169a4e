"""The pool's settings as the ledger keeps them: only what differs from the defaults of app/pool/policy.py."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from app.ledger.db import Ledger
from app.pool.model import Json
from app.pool.policy import RANGES, Policy, changed


def read(ledger: Ledger) -> Policy:
    """The present policy; a stored name that this release does not know is passed over."""
    known = RANGES.keys() | {name for name, value in vars(Policy()).items() if isinstance(value, bool)}
    return changed(Policy(), {row["name"]: row["value"] for row in ledger.all("settings_read") if row["name"] in known})


def write(ledger: Ledger, changes: Mapping[str, Json], actor: str) -> Policy:
    """Change these settings, all or none. Raises BadRequest naming each bad one and its range."""
    with ledger.transaction() as tx:
        policy = changed(read(tx), changes)
        for name in changes:
            tx.do("setting_write", name=name, value=Jsonb(getattr(policy, name)), actor=actor)
        return policy
