"""What waits, found by class and queue; why it waits; many jobs submitted at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from app.ledger import jobs, waiting
from app.ledger.db import Ledger
from app.ledger.waiting import Wish
from app.pool.matching import class_name
from app.pool.model import JobSpec, Requirement
from tests.kit.actors import ANY, assign, found, heads, join, running, submit, tell

FAST = Requirement("burn", tags=("fast",))


def names(ledger: Ledger) -> set[str]:
    return {each.name for each in waiting.classes(ledger)}


def test_a_class_is_there_while_something_of_it_is_due(ledger: Ledger) -> None:
    assert waiting.classes(ledger) == []
    first, second, fast = submit(ledger), submit(ledger), submit(ledger, FAST)
    assert {each.requirement for each in waiting.classes(ledger)} == {ANY, FAST}
    jobs.cancel(ledger, fast.id)
    assign(ledger, first, join(ledger))
    assert names(ledger) == {class_name(ANY)}
    jobs.cancel(ledger, second.id)
    assert names(ledger) == set()


def test_of_each_queue_the_oldest_come(ledger: Ledger) -> None:
    ana = [submit(ledger) for _ in range(3)]
    bob = [submit(ledger, owner="bob", priority=priority) for priority in (50, 50, 7)]
    fast = submit(ledger, FAST)
    every = {class_name(ANY), class_name(FAST)}
    first = {head.job.id for head in waiting.heads(ledger, every, 1)}
    assert first == {ana[0].id, bob[0].id, bob[2].id, fast.id}
    assert [head.job.id for head in heads(ledger)] == [job.id for job in (*ana, *bob, fast)]
    assert [head.job.id for head in waiting.heads(ledger, [class_name(FAST)], 9)] == [fast.id]


def test_what_has_its_time_ahead_waits_apart_until_then(ledger: Ledger) -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    job = submit(ledger, not_before=later)
    assert not waiting.due(ledger) and names(ledger) == set()
    assert waiting.due(ledger, later) == 1
    assert [head.job.id for head in heads(ledger)] == [job.id]


def test_a_repetition_waits_for_the_strict_job_that_it_repeats(ledger: Ledger) -> None:
    worker = join(ledger)
    strict = running(ledger, worker, submit(ledger, strict=True))
    jobs.cancel(ledger, strict.id)
    again = submit(ledger, retry_of=strict.id)
    assert heads(ledger) == []
    waiting.note_barred(ledger, "not yet")
    waiting.note_jobs(ledger, {})
    assert found(ledger, again).waiting == "not yet"
    tell(ledger, worker, strict, 1, "end", end="cancelled")
    assert [head.job.id for head in heads(ledger)] == [again.id]
    waiting.note_jobs(ledger, {})
    assert found(ledger, again).waiting is None


def test_a_class_s_reason_is_that_of_its_jobs_which_have_none_of_their_own(ledger: Ledger) -> None:
    one, other = submit(ledger), submit(ledger)
    waiting.note_classes(ledger, {class_name(ANY): "all are full"})
    waiting.note_jobs(ledger, {other.id: "it failed there"})
    assert (found(ledger, one).waiting, found(ledger, other).waiting) == ("all are full", "it failed there")
    assert submit(ledger).waiting == "all are full"
    waiting.note_jobs(ledger, {})
    assert found(ledger, other).waiting == "all are full"
    assigned = assign(ledger, one, join(ledger))
    assert assigned.waiting is None


def test_a_guess_does_not_stand_against_what_dispatch_knows(ledger: Ledger) -> None:
    spec = JobSpec(ANY, owner="ana")
    assert jobs.submit(ledger, spec, class_name(ANY), "nobody offers it").waiting == "nobody offers it"
    waiting.note_classes(ledger, {class_name(ANY): "all are full"})
    assert jobs.submit(ledger, spec, class_name(ANY), "nobody offers it").waiting == "all are full"


def test_classes_in_which_nothing_waits_are_forgotten(ledger: Ledger) -> None:
    job, _ = submit(ledger), submit(ledger, FAST)
    waiting.note_classes(ledger, {class_name(ANY): "full", class_name(FAST): "full"})
    jobs.cancel(ledger, job.id)
    assert waiting.forget_classes(ledger) == 1
    assert {each.why for each in waiting.classes(ledger)} == {"full"}


def test_many_are_submitted_together_or_not_at_all_and_keep_their_order(ledger: Ledger) -> None:
    specs = [(JobSpec(ANY, {"n": n}, "ana"), class_name(ANY)) for n in range(200)]
    made = jobs.submit_all(ledger, specs)
    assert [job.spec.params["n"] for job in made] == list(range(200))
    assert [head.job.id for head in heads(ledger, 200)] == [job.id for job in made]
    wrong = (JobSpec(Requirement("burn", group="nobody's"), owner="ana"), class_name(ANY))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        jobs.submit_all(ledger, [*specs, wrong])
    assert waiting.count(ledger) == 200


def test_what_is_known_to_find_no_room_is_left_out_with_all_that_want_as_much(ledger: Ledger) -> None:
    worker, other = join(ledger), join(ledger, "render-2")
    failed = running(ledger, worker, submit(ledger))
    tell(ledger, worker, failed, 1, "end", end="failed", cause="workflow", then="elsewhere")
    avoids = submit(ledger, replace(ANY, exclude_workers=(worker.id, other.id)))
    plain = submit(ledger)
    everyone = {failed.id, avoids.id, plain.id}
    [row] = [head for head in heads(ledger) if head.job.id == failed.id]
    wishes = {
        Wish(row.class_name): set[str](),
        Wish(row.class_name, without=frozenset({other.id})): everyone - {avoids.id},
        Wish(row.class_name, failed_on=frozenset({worker.id})): everyone - {failed.id},
        Wish(row.class_name, failed_on=frozenset({other.id})): everyone,
        Wish(row.class_name, without=frozenset({other.id}), failed_on=frozenset({worker.id})): everyone,
        Wish(row.class_name, above_mb=1): everyone,
        Wish(row.class_name, least_mb=1): everyone,
        Wish("of others"): everyone,
    }
    for wish, left in wishes.items():
        assert {head.job.id for head in waiting.heads(ledger, [row.class_name], 9, [wish])} == left, wish
        assert {head.job.id for head in heads(ledger) if not wish.is_within(head.wish)} == left, wish


def test_of_a_class_the_smaller_ones_are_found_behind_those_that_have_no_room(ledger: Ledger) -> None:
    large, small = (submit(ledger, replace(ANY, min_vram_mb=mb)) for mb in (6_000, 5_000))
    name = class_name(large.spec.requirement)
    for least, left in ((6_001, [large, small]), (6_000, [small]), (5_000, [])):
        found = waiting.heads(ledger, [name], 9, [Wish(name, least)])
        assert [head.job.id for head in found] == [job.id for job in left]


def test_classes_and_heads_are_found_without_reading_all_that_waits(ledger: Ledger) -> None:
    specs = [(JobSpec(tagged(n % 20), owner=f"o{n // 20 % 5}"), class_name(tagged(n % 20))) for n in range(4_000)]
    jobs.submit_all(ledger, specs)
    with ledger.transaction() as tx:
        assert tx._connection is not None
        tx._connection.execute("ANALYZE jobs")
        before = _read(tx)
        assert len(waiting.heads(tx, {each.name for each in waiting.classes(tx)}, 4)) == 20 * 5 * 4
        assert _read(tx) - before < 20 * 3 + 20 * 5 * 8  # a scan of what waits would read 4,000 twice


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
