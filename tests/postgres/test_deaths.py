"""Workers that die under a job: what counts, whose death it is, and when the job pauses or ends."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from app.ledger import attempts, jobs, policy
from app.ledger.db import Ledger
from app.ledger.registry import workers
from app.pool.model import Health, Job, JobState, WaitingFor, Worker
from tests.kit.actors import MOST_DEATHS, assign, found, join, killed, lose, overlapping, running, submit, tell


def die(ledger: Ledger, worker: Worker, *some: Job, most: int = MOST_DEATHS) -> None:
    """The worker dies under what it runs, as a leader writes it down: job by job."""
    for job in some:
        lose(ledger, found(ledger, job), most)


def slot_dies(ledger: Ledger, worker: Worker, job: Job) -> None:
    now = found(ledger, job)
    tell(ledger, worker, now, now.attempt, "end", end="stopped", cause="slot", signal=9)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("names", "places"),
    [(("vm-1", "vm-2", "vm-1"), "vm-1 twice, vm-2"), (("vm-1",) * 3, "vm-1 3 times")],
)
def test_deaths_count_whoever_died(ledger: Ledger, names: tuple[str, ...], places: str, strict: bool) -> None:
    job = submit(ledger, strict=strict)
    assert killed(ledger, job, *names[:2]).state is JobState.PENDING
    ended = killed(ledger, job, names[2])

    assert (ended.state, ended.failures) == (JobState.FAILED, 0)
    assert ended.error == f"3 workers died under it, without a checkpoint in between: {places}"
    assert [each.end and each.end.value for each in attempts.of_job(ledger, job.id)] == ["taken away"] * 3


def test_one_death_costs_no_time_and_the_next_ones_more_and_more(ledger: Ledger) -> None:
    job = killed(ledger, submit(ledger), "vm-1", most=100)
    assert job.not_before is None
    pauses = []
    for _ in range(3):
        job = killed(ledger, job, "vm-1", most=100)
        assert job.not_before and job.waiting_for is WaitingFor.TIME
        assert "vm-1" in (job.waiting or "")
        pauses.append((job.not_before - datetime.now(timezone.utc)).total_seconds())

    assert pauses == sorted(pauses)
    assert 14 < pauses[0] <= 30


def test_a_kept_checkpoint_begins_the_count_and_the_pauses_anew(ledger: Ledger) -> None:
    job = killed(ledger, submit(ledger), "vm-1", "vm-2")
    worker = join(ledger, "vm-1")
    running(ledger, worker, job)
    tell(ledger, worker, job, 3, "checkpoint", number=1, state={})
    lose(ledger, found(ledger, job))

    assert (found(ledger, job).state, found(ledger, job).not_before) == (JobState.PENDING, None)
    assert killed(ledger, job, "vm-1").state is JobState.PENDING  # the second since, with that of attempt 3
    ended = killed(ledger, job, "vm-1")
    assert ended.error == "3 workers died under it, without a checkpoint in between: vm-1 3 times"


def test_a_refused_checkpoint_of_an_old_attempt_begins_nothing_anew(ledger: Ledger) -> None:
    job = submit(ledger)
    late = join(ledger, "vm-1")
    running(ledger, late, job)
    lose(ledger, found(ledger, job))
    tell(ledger, late, job, 1, "checkpoint", number=1, state={})

    assert killed(ledger, job, "vm-2", "vm-1").state is JobState.FAILED


def test_a_worker_that_was_cut_off_and_came_back_has_not_died(ledger: Ledger) -> None:
    job = submit(ledger)
    worker = join(ledger, "vm-1")
    for _ in range(MOST_DEATHS):
        running(ledger, worker, found(ledger, job))
        assert workers.set_health(ledger, worker, Health.DOWN, "silent", "down")
        lose(ledger, found(ledger, job))
        back = workers.find(ledger, worker.id)
        assert back and workers.set_health(ledger, back, Health.HEALTHY, "beats again", "healthy")
        worker = workers.find(ledger, worker.id) or worker

    now = found(ledger, job)
    assert now.state is JobState.PENDING
    assert now.not_before is not None  # but it is not tried again at once for ever
    assert killed(ledger, job, "vm-2", "vm-2").state is JobState.PENDING
    assert killed(ledger, job, "vm-2").error == "3 workers died under it, without a checkpoint in between: vm-2 3 times"


def test_a_slot_process_that_dies_again_and_again_ends_the_job_too(ledger: Ledger) -> None:
    worker = join(ledger, "vm-1")
    job = submit(ledger)
    for _ in range(MOST_DEATHS):
        running(ledger, worker, found(ledger, job))
        slot_dies(ledger, worker, job)

    assert found(ledger, job).error == ("3 slot processes died under it, without a checkpoint in between: vm-1 3 times")


def test_workers_and_slot_processes_are_counted_together_by_the_pool_s_setting(ledger: Ledger) -> None:
    policy.write(ledger, {"poison_deaths": 2}, "ann")
    job = killed(ledger, submit(ledger), "vm-1")
    worker = join(ledger, "vm-2")
    running(ledger, worker, job)
    slot_dies(ledger, worker, job)

    assert found(ledger, job).error == (
        "2 workers and slot processes died under it, without a checkpoint in between: vm-1, vm-2"
    )


def test_a_slot_process_that_died_before_the_job_began_is_not_the_jobs(ledger: Ledger) -> None:
    policy.write(ledger, {"poison_deaths": 1}, "ann")
    worker = join(ledger, "vm-1")
    job = submit(ledger)
    assign(ledger, job, worker)
    slot_dies(ledger, worker, job)

    assert found(ledger, job).state is JobState.PENDING


def test_what_ran_beside_a_job_that_had_been_lost_more_often_is_innocent(ledger: Ledger) -> None:
    killer = killed(ledger, submit(ledger), "vm-1")
    beside = submit(ledger)
    for name in ("vm-2", "vm-1"):  # the killer was alone once, so it is the worse at each of these
        worker = join(ledger, name)
        for job in (killer, beside):
            running(ledger, worker, found(ledger, job))
        die(ledger, worker, beside, killer)  # in the order that favours nobody: the killer has not ended yet

    assert found(ledger, killer).state is JobState.FAILED
    assert found(ledger, beside).not_before is None  # and it need not pause
    assert killed(ledger, beside, "vm-1", "vm-1").state is JobState.PENDING  # its own first and second
    assert killed(ledger, beside, "vm-1").state is JobState.FAILED


def test_jobs_that_were_lost_together_each_time_are_equally_suspect(ledger: Ledger) -> None:
    pair = [submit(ledger), submit(ledger)]
    for _ in range(MOST_DEATHS):
        worker = join(ledger, "vm-1")
        for job in pair:
            running(ledger, worker, found(ledger, job))
        die(ledger, worker, *pair)

    assert [found(ledger, job).state for job in pair] == [JobState.FAILED] * 2


def test_a_checkpoint_clears_a_neighbour_of_what_it_was_suspected_of(ledger: Ledger) -> None:
    former = killed(ledger, submit(ledger), "vm-1", "vm-2")
    killer = submit(ledger)
    worker = join(ledger, "vm-1")
    for job in (former, killer):
        running(ledger, worker, job)
    tell(ledger, worker, former, 3, "checkpoint", number=1, state={})
    die(ledger, worker, killer, former)

    assert found(ledger, former).state is JobState.PENDING
    assert killed(ledger, killer, "vm-1").not_before is not None  # its second: the first is not the former's


def test_jobs_that_run_elsewhere_or_later_are_not_beside_it(ledger: Ledger) -> None:
    worse = killed(ledger, submit(ledger), "vm-1", "vm-2")
    job = submit(ledger)
    first = join(ledger, "vm-1")
    running(ledger, first, job)
    lose(ledger, found(ledger, job))
    elsewhere = join(ledger, "vm-3")
    running(ledger, elsewhere, worse)

    assert killed(ledger, job, "vm-1", "vm-1").state is JobState.FAILED


def test_a_death_that_two_leaders_see_counts_once(ledger: Ledger, database_url: str) -> None:
    job = killed(ledger, submit(ledger), "vm-1")
    running(ledger, join(ledger, "vm-2"), job)
    now = found(ledger, job)
    overlapping(database_url, lambda tx: lose(tx, now), lambda tx: lose(tx, now))

    assert found(ledger, job).state is JobState.PENDING
    assert len(deaths_of(ledger, job)) == 2


def test_a_job_that_is_cancelled_meanwhile_stays_cancelled(ledger: Ledger, database_url: str) -> None:
    job = killed(ledger, submit(ledger), "vm-1", "vm-2")
    worker = join(ledger, "vm-1")
    running(ledger, worker, job)
    now = found(ledger, job)
    overlapping(database_url, lambda tx: cancel(tx, now), lambda tx: lose(tx, now))
    assert found(ledger, job).state is JobState.CANCELLED

    other = killed(ledger, submit(ledger), "vm-1", "vm-2")
    cancel(ledger, other)  # while it pauses
    assert (found(ledger, other).state, found(ledger, other).not_before) == (JobState.CANCELLED, None)


def cancel(ledger: Ledger, job: Job) -> None:
    assert jobs.cancel(ledger, job.id)


def deaths_of(ledger: Ledger, job: Job) -> list[int]:
    return [each.number for each in attempts.of_job(ledger, job.id) if each.end]
