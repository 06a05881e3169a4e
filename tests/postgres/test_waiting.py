"""What waits, found by class and queue; why it waits; many jobs submitted at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from app.ledger import jobs, waiting
from app.ledger.db import Ledger
from app.pool.model import Job, JobSpec, Requirement, WaitingFor, WaitingReason, Worker
from tests.kit.actors import ANY, assign, classes, found, heads, join, running, submit, tell

FAST = Requirement("burn", tags=("fast",))


FULL = WaitingReason(WaitingFor.SLOT, "all are full")


def named(ledger: Ledger, requirement: Requirement) -> str:
    """The name of the class of jobs with this requirement that have not failed."""
    [found] = [each for each in classes(ledger).values() if each.requirement == requirement and not each.failed_on]
    return found.name


def test_a_class_is_there_while_something_of_it_is_due(ledger: Ledger) -> None:
    assert classes(ledger) == {}
    first, second, fast = submit(ledger), submit(ledger), submit(ledger, FAST)
    assert {each.requirement for each in classes(ledger).values()} == {ANY, FAST}
    jobs.cancel(ledger, fast.id)
    assign(ledger, first, join(ledger))
    assert [each.requirement for each in classes(ledger).values()] == [ANY]
    jobs.cancel(ledger, second.id)
    assert classes(ledger) == {}


def test_of_each_queue_the_oldest_come(ledger: Ledger) -> None:
    ana = [submit(ledger) for _ in range(3)]
    bob = [submit(ledger, owner="bob", priority=priority) for priority in (50, 50, 7)]
    fast = submit(ledger, FAST)
    every = {named(ledger, ANY), named(ledger, FAST)}
    first = {head.id for head in waiting.heads(ledger, every, 1)}
    assert first == {ana[0].id, bob[0].id, bob[2].id, fast.id}
    assert [head.id for head in heads(ledger)] == [job.id for job in (*ana, *bob, fast)]
    assert [head.id for head in waiting.heads(ledger, [named(ledger, FAST)], 9)] == [fast.id]


def test_what_has_its_time_ahead_waits_apart_until_then(ledger: Ledger) -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    job = submit(ledger, not_before=later)
    assert not waiting.due(ledger) and classes(ledger) == {}
    assert waiting.due(ledger, later) == 1
    assert [head.id for head in heads(ledger)] == [job.id]


def test_a_repetition_waits_for_the_strict_job_that_it_repeats(ledger: Ledger) -> None:
    worker = join(ledger)
    strict = running(ledger, worker, submit(ledger, strict=True))
    jobs.cancel(ledger, strict.id)
    again = submit(ledger, retry_of=strict.id)
    assert heads(ledger) == []
    waiting.note_barred(ledger, WaitingReason(WaitingFor.WORKER, "not yet"))
    assert (found(ledger, again).waiting, found(ledger, again).waiting_for) == ("not yet", WaitingFor.WORKER)
    tell(ledger, worker, strict, 1, "end", end="cancelled")
    assert [head.id for head in heads(ledger)] == [again.id]
    waiting.note_barred(ledger, WaitingReason(WaitingFor.WORKER, "not yet"))
    assert found(ledger, again).waiting is None


def test_the_reason_of_a_class_is_that_of_all_its_jobs(ledger: Ledger) -> None:
    one, other = submit(ledger), submit(ledger)
    waiting.note_classes(ledger, {named(ledger, ANY): FULL})
    assert {found(ledger, job).waiting for job in (one, other)} == {"all are full"}
    assert submit(ledger).waiting == "all are full"
    assigned = assign(ledger, one, join(ledger))
    assert assigned.waiting is None


def test_a_guess_does_not_stand_against_what_dispatch_knows(ledger: Ledger) -> None:
    spec = JobSpec(ANY, owner="ana")
    guess = WaitingReason(WaitingFor.WORKER, "nobody offers it")
    guessed = jobs.submit(ledger, spec, guess)
    assert (guessed.waiting, guessed.waiting_for) == ("nobody offers it", WaitingFor.WORKER)
    assert found(ledger, guessed).waiting == guessed.waiting
    waiting.note_classes(ledger, {named(ledger, ANY): FULL})
    known = jobs.submit(ledger, spec, guess)
    assert (known.waiting, known.waiting_for) == ("all are full", WaitingFor.SLOT)


def test_classes_in_which_nothing_waits_are_forgotten(ledger: Ledger) -> None:
    job, fast = submit(ledger), submit(ledger, FAST)
    waiting.note_classes(ledger, {named(ledger, ANY): FULL, named(ledger, FAST): FULL})
    jobs.cancel(ledger, job.id)
    assert waiting.forget_classes(ledger) == 1
    assert (found(ledger, fast).waiting, submit(ledger).waiting) == ("all are full", None)


def test_many_are_submitted_together_or_not_at_all_and_keep_their_order(ledger: Ledger) -> None:
    specs = [JobSpec(ANY, {"n": n}, "ana") for n in range(200)]
    made = jobs.submit_all(ledger, specs)
    assert [job.spec.params["n"] for job in made] == list(range(200))
    assert [head.id for head in heads(ledger, 200)] == [job.id for job in made]
    wrong = JobSpec(Requirement("burn", group="nobody's"), owner="ana")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        jobs.submit_all(ledger, [*specs, wrong])
    assert waiting.count(ledger) == 200


def test_classes_and_heads_are_found_without_reading_all_that_waits(ledger: Ledger) -> None:
    specs = [JobSpec(tagged(n % 20), owner=f"o{n // 20 % 5}") for n in range(4_000)]
    jobs.submit_all(ledger, specs)
    with ledger.transaction() as tx:
        assert tx._connection is not None
        tx._connection.execute("ANALYZE jobs")
        before = _read(tx)
        assert len(waiting.heads(tx, classes(tx), 4)) == 20 * 5 * 4
        assert _read(tx) - before < 20 * 3 + 20 * 5 * 8  # a scan of what waits would read 4,000 twice


def test_jobs_of_a_class_demand_exactly_the_same_and_have_failed_on_the_same_workers(ledger: Ledger) -> None:
    worker, other = join(ledger), join(ledger, "render-2")
    same = [submit(ledger, replace(FAST, tags=tags, min_vram_mb=5_000)) for tags in (("a", "b"), ("b", "a"))]
    apart = [
        submit(ledger, replace(FAST, tags=("a", "b"), min_vram_mb=5_001)),
        submit(ledger, replace(FAST, tags=("a", "b"), min_vram_mb=5_000, exclude_workers=(worker.id,))),
        submit(ledger),
        failed_on(ledger, worker),
        failed_on(ledger, other),
    ]
    names = {head.id: head.class_name for head in heads(ledger)}
    assert names[same[0].id] == names[same[1].id]
    assert len({names[job.id] for job in (same[0], *apart)}) == 1 + len(apart)
    assert {(worker.id,), (other.id,)} < {tuple(each.failed_on) for each in classes(ledger).values()}


def failed_on(ledger: Ledger, worker: Worker) -> Job:
    """A job that has failed there and is to be tried elsewhere."""
    job = running(ledger, worker)
    tell(ledger, worker, job, 1, "end", end="failed", cause="workflow", then="elsewhere")
    return job


def test_classes_that_are_known_are_not_read_again(ledger: Ledger) -> None:
    first = submit(ledger)
    known = classes(ledger)
    submit(ledger, FAST)
    [name] = known
    found = waiting.classes(ledger, {name: replace(known[name], requirement=Requirement("kept"))})
    assert {each.requirement.workflow for each in found.values()} == {"kept", "burn"}
    jobs.cancel(ledger, first.id)
    assert [each.requirement for each in waiting.classes(ledger, found).values()] == [FAST]


def tagged(number: int) -> Requirement:
    return Requirement("burn", tags=(f"t{number}",))


def _read(tx: Ledger) -> int:
    """Rows of jobs that this transaction's session has read so far."""
    assert tx._connection is not None
    row = tx._connection.execute(
        "SELECT seq_tup_read + idx_tup_fetch AS rows FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
    ).fetchone()
    assert row is not None
    return int(row["rows"])
