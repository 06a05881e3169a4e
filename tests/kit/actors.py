"""Actors in a ledger: workers that have joined, jobs that were submitted, reports that were applied."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg

from app.ledger import deaths, jobs, open_attempts, reports, tokens, waiting
from app.ledger.db import Ledger
from app.ledger.registry import joins
from app.ledger.waiting import WaitingClass, WaitingJob
from app.pool.agent_http import Offer
from app.pool.model import Gpu, Job, JobSpec, Requirement, Worker, Workflow
from app.pool.protocol import Report
from tests.kit.services import eventually

ANY = Requirement("burn")
MOST_DEATHS = 3  # after so many a job fails, unless the pool is set otherwise


def offer(
    name: str = "render-1", address: str | None = None, port: int | None = None, gpus: tuple[Gpu, ...] = ()
) -> Offer:
    return Offer(
        machine_id=f"machine-{name}",
        boot_id="boot-1",
        hostname=name,
        name=name,
        slots=1,
        version="1",
        pid=1,
        workflows=(Workflow("burn", "python"),),
        address=address,
        port=port,
        gpus=gpus,
    )


def join(
    ledger: Ledger,
    name: str = "render-1",
    address: str | None = None,
    port: int | None = None,
    gpus: tuple[Gpu, ...] = (),
) -> Worker:
    """A worker's next incarnation, as web and agent make one."""
    asked = offer(name, address, port, gpus)
    known = joins.by_identity(ledger, joins.identity_of(asked))
    secret = tokens.digest(tokens.new_secret("agent"))
    begun = joins.begin(ledger, known.id if known else None, asked, secret)
    worker = joins.confirm(ledger, begun)
    assert worker is not None
    return worker


def know(ledger: Ledger, *workflows: str) -> None:
    """Workers offered these once, before declarations were kept."""
    with ledger.transaction() as tx:
        assert tx._connection is not None
        for name in workflows:
            tx._connection.execute("INSERT INTO known_workflows (name) VALUES (%s)", [name])


def submit(ledger: Ledger, requirement: Requirement = ANY, **rest: object) -> Job:
    spec = JobSpec(requirement, **{"owner": "ana", **rest})  # type: ignore[arg-type]
    return jobs.submit(ledger, spec)


def heads(ledger: Ledger, each: int = 9) -> list[WaitingJob]:
    """The first so many of every queue, oldest first."""
    return sorted(waiting.heads(ledger, classes(ledger), each), key=lambda head: (head.created_at, head.id))


def classes(ledger: Ledger) -> dict[str, WaitingClass]:
    """Every class with due jobs, by name."""
    return waiting.classes(ledger, {})


def assign(ledger: Ledger, job: Job, worker: Worker) -> Job:
    moved = waiting.assign(ledger, [waiting.Assignment(job.id, job.attempt, worker.id, worker.incarnation)])
    assert moved.keys() == {job.id}
    return found(ledger, job)


def found(ledger: Ledger, job: Job) -> Job:
    now = jobs.find(ledger, job.id)
    assert now is not None
    return now


def tell(ledger: Ledger, worker: Worker, job: Job, attempt: int, kind: str, **rest: object) -> reports.Applied:
    """Let the worker report, as the coordinator applies it."""
    report = Report(kind, worker.id, worker.incarnation, job.id, attempt, **rest)  # type: ignore[arg-type]
    with ledger.transaction() as tx:
        return reports.apply(tx, report)


def running(ledger: Ledger, worker: Worker, job: Job | None = None) -> Job:
    """A job that runs on this worker."""
    job = job or submit(ledger)
    assigned = assign(ledger, job, worker)
    assert tell(ledger, worker, assigned, assigned.attempt, "claim", nonce="n") is reports.Applied.CLAIMED
    return found(ledger, job)


def lose(ledger: Ledger, job: Job, most: int = MOST_DEATHS) -> None:
    """The worker dies under this attempt of the job, as a leader writes it down."""
    with ledger.transaction() as tx:
        taken = open_attempts.take_away(tx, job.id, job.attempt, "its host is gone", spare_strict=False, died=True)
        deaths.follow(tx, [taken.job] if taken and taken.died else [], most)


def killed(ledger: Ledger, job: Job, *names: str, most: int = MOST_DEATHS) -> Job:
    """The job as it is once these workers, each started again after its death, have died under it."""
    for name in names:
        worker = join(ledger, name)
        running(ledger, worker, found(ledger, job))
        lose(ledger, found(ledger, job), most)
    return found(ledger, job)


def overlapping(database_url: str, first: Callable[[Ledger], object], second: Callable[[Ledger], object]) -> None:
    """Two transactions: the second goes as far as it can before the first, which has done all, commits."""
    ledgers = [Ledger.connect(database_url, 1) for _ in range(2)]

    def other() -> None:
        with ledgers[1].transaction() as tx:
            second(tx)

    thread = threading.Thread(target=other)
    with ledgers[0].transaction() as tx:
        first(tx)
        thread.start()
        eventually(lambda: waits_for_a_lock(database_url) or not thread.is_alive())
    thread.join(10)
    for ledger in ledgers:
        ledger.close()


def waits_for_a_lock(database_url: str) -> bool:
    """Whether somebody in this database does."""
    with psycopg.connect(database_url) as connection:
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return connection.execute(query).fetchone() is not None
