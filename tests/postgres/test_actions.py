"""Actions need no HTTP: a caller without Flask may ask, and is told by errors what cannot be done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.actions import groups, investigations, jobs, settings, tokens, worker_setup, workers
from app.actions.actor import Actor
from app.actions.errors import Conflict, Forbidden, Missing, Stale
from app.actions.services import Services
from app.actions.workers import Instruction
from app.ledger import events
from app.ledger.db import Ledger
from app.pool import redis_client
from app.pool.errors import BadFields, BadRequest
from app.pool.keys import Keys
from app.pool.live import Live
from app.pool.model import JobSpec, JobState, Requirement, WorkerId
from tests.kit.actors import join
from tests.kit.web import server_settings

ROOT = Actor("root", "admin", "t1")
ANN = Actor("ann", "creator", "t2")
EVE = Actor("eve", "creator", "t3")


@pytest.fixture
def stores(ledger: Ledger, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Services]:
    """The services of no web process."""
    server = server_settings(tmp_path, database_url, redis_url, redis_url)
    client, keys = redis_client.client(redis_url, redis_client.PAGE_S), Keys("pool:")
    yield Services(server, ledger, client, keys, Live(client, keys))
    client.close()


def submit(stores: Services, actor: Actor, spec: JobSpec) -> str:
    [made] = jobs.submit(stores.ledger, stores.settings, actor, {"": spec}, allow_unknown=True)
    return made.job.id


def test_actions_load_neither_flask_nor_pydantic() -> None:
    code = (
        "import sys\n"
        "from app.actions import groups, investigations, jobs, joins, notifications, settings, tokens\n"
        "from app.actions import worker_setup, workers\n"
        "print([name for name in ('flask', 'werkzeug', 'pydantic') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_creator_acts_on_their_own_jobs_only(stores: Services) -> None:
    job = submit(stores, ANN, JobSpec(Requirement("burn")))
    assert jobs.find(stores.ledger, ROOT, job).spec.owner == "ann"
    with pytest.raises(Missing):
        jobs.cancel(stores, EVE, job)
    with pytest.raises(Forbidden):
        submit(stores, ANN, JobSpec(Requirement("burn"), owner="eve"))
    assert jobs.find(stores.ledger, ANN, submit(stores, ROOT, JobSpec(Requirement("burn"), owner="ann")))


def test_a_job_is_cancelled_twice_and_retried_once_it_has_ended(stores: Services) -> None:
    job = submit(stores, ANN, JobSpec(Requirement("burn")))
    with pytest.raises(Conflict, match="this job has not ended: pending"):
        jobs.retry(stores, ANN, job)
    assert [jobs.cancel(stores, ANN, job).state for _ in range(2)] == [JobState.CANCELLED] * 2
    assert jobs.retry(stores, ANN, job).spec.retry_of == job
    assert [event.actor for event in events.listed(stores.ledger, job=jobs.find(stores.ledger, ANN, job).id)] == ["ann"]


def test_the_second_of_two_who_change_what_they_saw_is_told(stores: Services) -> None:
    group = groups.make(stores, ROOT, "farm", None, [])
    groups.change(stores, ROOT, "farm", {"strategy": "round-robin"}, lambda version: version == group.version)
    with pytest.raises(Stale):
        groups.delete(stores, ROOT, "farm", None, False, lambda version: version == group.version)
    with pytest.raises(Stale):
        settings.change(stores, ROOT, {"missed_beats": 3}, lambda version: False)
    with pytest.raises(BadRequest) as told:
        settings.change(stores, ROOT, {"missed_beats": 99}, lambda version: False)
    assert told.value.errors == [("/missed_beats", "must be from 1 to 10")]


def test_workers_are_told_apart_by_what_became_of_each(stores: Services) -> None:
    worker, nobody = join(stores.ledger), WorkerId("0" * 12)
    outcomes = workers.perform(stores, ROOT, [worker.id, nobody], Instruction("tag", tags=("optix",)))
    assert [(outcome.ok, outcome.detail) for outcome in outcomes] == [(True, "tags + optix"), (False, workers.NOBODY)]
    assert worker_setup.change(stores, ROOT, worker.id, {"tags": ["cuda"]}).tags == ("cuda",)
    with pytest.raises(BadFields):
        worker_setup.change(stores, ROOT, worker.id, {"groups": ["nowhere"]})


def test_what_is_not_there_is_missing(stores: Services) -> None:
    for ask in (
        lambda: groups.find(stores.ledger, "farm"),
        lambda: investigations.resolve(stores.ledger, ROOT, "0" * 12, "dust"),
        lambda: investigations.add_note(stores.ledger, ROOT, "0" * 12, "dust"),
        lambda: tokens.revoke(stores.ledger, ROOT, "0" * 12),
        lambda: workers.find(stores.ledger, "0" * 12),
    ):
        with pytest.raises(Missing):
            ask()
