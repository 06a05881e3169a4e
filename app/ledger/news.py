"""News: what people are told of a worker's health and of a job that moved, in the transaction that makes it so."""

from __future__ import annotations

from app.ledger import events
from app.ledger.db import Ledger, Row
from app.pool.duration import duration, lost_work
from app.pool.model import Health, JobId, WorkerId

TROUBLE = (Health.DEGRADED, Health.DOWN)


def health(
    tx: Ledger, worker: WorkerId, name: str, transition: int, before: Health | None, to: Health, why: str
) -> None:
    """Record a transition as an event; trouble and its end are told to the admins too."""
    kind, sentence = f"worker.{to}", f"{name} is {to}: {why}"
    facts: dict[str, object] = {"cause": why}
    if to is Health.HEALTHY:
        if before not in TROUBLE:
            return  # it joined: that is an event of its own
        row = tx.one("worker_trouble_s", worker=worker, transition=transition)
        facts["lasted_s"] = seconds = (row["seconds"] if row else None) or 0.0
        kind, sentence = "worker.recovered", f"{name} is healthy again after {duration(seconds)}: {why}"
    events.record(tx, kind, sentence, worker=worker)
    if to is not Health.LEFT:
        events.tell_admins(tx, kind, sentence, about=f"{worker}:{transition}", worker=worker, facts=facts)


def moved(tx: Ledger, job: JobId, attempt: int) -> None:
    """Tell the owner once that the job goes on elsewhere. Told with the claim: only then both workers are known."""
    row = tx.one("attempt_moved_from", job=job, attempt=attempt)
    if row is None:
        return
    events.tell(
        tx,
        row["owner"],
        "job.moved",
        _moved_sentence(row),
        about=f"{job}:{row['number']}",
        job=job,
        worker=row["worker_id"],
        facts=_moved_facts(row),
    )


def _moved_sentence(row: Row) -> str:
    name, away = row["name"] or row["workflow"], row["worker_id"] != row["to_worker"]
    way = f"from {row['worker_name']} to {row['to_name']}" if away else f"away from {row['worker_name']} and back"
    lost = lost_work(row["lost_s"], row["lost_steps"])
    return f"{name} moved {way}: {row['cause']}{f'; {lost} are repeated' if lost else ''}"


def _moved_facts(row: Row) -> dict[str, object]:
    return {
        "attempt": row["number"],
        "from": row["worker_id"],
        "from_name": row["worker_name"],
        "to": row["to_worker"],
        **{name: row[name] for name in ("to_name", "cause", "lost_s", "lost_steps", "waited_s")},
    }
