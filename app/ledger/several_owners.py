"""Errors of several owners in a row on one worker: then it is likelier the worker than the jobs.

An investigation is opened and the worker is paused. What fails everywhere must not stop everything, so the
pool pauses one worker in five at most, or one in a pool of fewer, and never the last that could take jobs.
Whoever decides holds the worker's row (failures.bars).
"""

from __future__ import annotations

from app.ledger import events, evidence, investigations
from app.ledger.db import Ledger, Row
from app.ledger.investigations import SuspectedCause
from app.pool.model import Intent, WorkerId

OWNERS = 3


def pause_due(tx: Ledger, worker: WorkerId) -> bool:
    """Look into the worker when its last errors in a row are of OWNERS owners; True when it was paused for it."""
    row = tx.one("errors_of_owners", worker=worker, owners=OWNERS)
    if row is None:
        return False
    tx.one("pool_pauses_lock")  # first: of two pauses at once, the second counts the first
    why_not = _why_not(tx, worker, Intent(row["intent"]))
    if why_not is None:
        tx.do("worker_pause_by_pool", worker=worker)
    why = f"jobs of {len(row['owners'])} owners failed on it in a row: {', '.join(row['owners'])}"
    _investigate(tx, worker, row, why)
    _tell(tx, worker, row, why, why_not)
    return why_not is None


def _investigate(tx: Ledger, worker: WorkerId, row: Row, why: str) -> None:
    """Open an investigation; one that is open already gets a note."""
    facts = evidence.gathered(tx, worker, why)
    if not investigations.begin(tx, worker, row["incarnation"], SuspectedCause.SEVERAL_OWNERS, facts, row["seconds"]):
        for investigation in investigations.open_of(tx, [worker]).values():
            investigations.add_note(tx, investigation, "pool", why)


def _tell(tx: Ledger, worker: WorkerId, row: Row, why: str, why_not: str | None) -> None:
    paused = why_not is None
    follows = "it is paused until a person resumes it" if paused else f"it is not paused, since {why_not}"
    sentence = f"{row['name']} is to be looked into: {why}; {follows}"
    kind = "worker.paused" if paused else "worker.suspected"
    events.record(tx, kind, sentence, worker=worker)
    facts = {"owners": row["owners"], "paused": paused}
    events.tell_admins(tx, kind, sentence, about=f"{worker}:{row['at'].isoformat()}", worker=worker, facts=facts)


def _why_not(tx: Ledger, worker: WorkerId, intent: Intent) -> str | None:
    """Why the pool does not pause this worker; None when it does."""
    if intent is not Intent.ACTIVE:
        return f"it is {intent}"
    others = tx.one("pool_pauses_others", worker=worker)
    assert others is not None
    if not others["take_jobs"]:
        return "no other healthy worker takes jobs"
    return "the pool pauses one worker in five at most" if others["enough_paused"] else None
