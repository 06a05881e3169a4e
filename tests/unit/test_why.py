"""Why a job waits: each filter turns away whom placement would not take, and is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from app.pool.matching import Refusal, RefusedBy
from app.pool.model import Gpu, Health, Intent, Job, JobId, JobSpec, JobState, Requirement, Worker, WorkerId, Workflow
from app.pool.policy import Policy
from app.pool.protocol import Beat, GpuFigures, Lease, LeaseState, Memory
from app.pool.status import Clause, WorkerStatus
from app.pool.why import Seen, Turned, by_filter, by_room, by_setup
from app.web.shapes.why_words import sentence, won, words

BURN = Workflow("burn", "python", vram_mb=0)
CARD = Gpu("GPU-1", 0, "RTX", 24_000)
LEASE = Lease(attempt=1, state="given", slots=1)  # type: ignore[arg-type]


def worker(name: str, **rest: Any) -> Worker:
    facts: dict[str, Any] = {"health": Health.HEALTHY, "intent": Intent.ACTIVE, "workflows": (BURN,), **rest}
    return Worker(WorkerId(name), name, name, name, "b", 1, slots=1, **facts)


def seen(one: Worker, *leases: Lease, tags: tuple[str, ...] = ()) -> Seen:
    gpus = tuple(GpuFigures(gpu.uuid, gpu.index, memory=Memory(0, 0)) for gpu in one.gpus)
    beat = Beat(one.id, 1, 1, 15_000, 35_000, "b", 1, 1, gpus=gpus, tags=tags)
    return Seen(beat, {JobId(f"j{number}"): lease for number, lease in enumerate(leases)})


def verdict(one: Worker, asked: Job, live: Seen | None = None) -> str | None:
    found = by_room([one], {one.id: live or seen(one)}, asked, Policy())[one.id]
    return found.filter if found else None


NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def job(requirement: Requirement, **rest: Any) -> Job:
    """A job that waits."""
    facts: dict[str, Any] = {"attempt": 1, "failures": 0, "worker": None, "incarnation": None, "progress": 0.0}
    return Job(JobId("j" * 12), JobSpec(requirement), JobState.PENDING, text="", created_at=NOON, **facts, **rest)


ANY = job(Requirement("burn"))


def test_a_worker_that_stands_apart_is_named_by_how_it_stands() -> None:
    def filter_of(one: Worker) -> str | None:
        found = by_setup(one, ANY.spec.requirement, Policy())
        return found.filter if found else None

    assert filter_of(worker("w")) is None
    assert filter_of(worker("w", intent=Intent.PAUSED)) == "paused"
    assert filter_of(worker("w", health=Health.DEGRADED)) == "degraded"
    assert filter_of(worker("w", blocked={"burn": "until noon"})) == "blocked"
    assert filter_of(worker("w", workflows=(), intent=Intent.PAUSED)) == "workflow"


def test_room_turns_away_for_slots_cards_and_memory() -> None:
    assert verdict(worker("w"), ANY) is None
    assert verdict(worker("w"), ANY, seen(worker("w"), LEASE)) == "slots"
    two = replace(worker("w", gpus=(CARD,)), slots=2)
    live = seen(two, replace(LEASE, gpus=("GPU-1",), vram_mb=20_000))
    live = replace(live, beat=live.beat and replace(live.beat, slots=2))
    assert verdict(two, job(Requirement("burn", min_vram_mb=8_000)), live) == "free vram"
    assert verdict(two, job(Requirement("burn", gpus=1)), live) == "cards"
    assert verdict(two, ANY, live) is None


def test_a_worker_without_a_beat_takes_nothing() -> None:
    assert verdict(worker("w"), ANY, Seen(None, {})) == "heartbeat"


def test_a_worker_that_may_still_have_an_older_attempt_is_not_ready_for_the_next() -> None:
    wide = replace(worker("w"), slots=2)
    beat = seen(wide).beat
    assert beat is not None
    older = Seen(replace(beat, slots=2), {ANY.id: replace(LEASE, state=LeaseState.REVOKED)})
    assert verdict(wide, ANY, older) == "older attempt"
    assert verdict(wide, ANY, replace(older, leases={ANY.id: replace(LEASE, state=LeaseState.ENDED)})) is None


def test_a_tag_that_only_the_beat_has_counts() -> None:
    model = job(Requirement("burn", tags=("model:x",)))
    assert verdict(worker("w"), model) == "tags"
    assert verdict(worker("w"), model, seen(worker("w"), tags=("model:x",))) is None


def test_where_it_failed_is_avoided_only_while_another_could_run_it() -> None:
    one, two = worker("one"), worker("two")
    asked = replace(ANY, failed_on=frozenset({one.id}))
    assert verdict(one, asked) is None
    both = by_room([one, two], {w.id: seen(w) for w in (one, two)}, asked, Policy())
    assert (both[one.id], both[two.id]) == (Refusal(RefusedBy.FAILED, Clause("failed", "this job before")), None)


def test_a_larger_card_is_asked_for_only_where_there_is_one() -> None:
    small, large = worker("small", gpus=(CARD,)), worker("large", gpus=(replace(CARD, vram_mb=48_000),))
    asked = job(Requirement("burn", above_vram_mb=24_000))
    assert verdict(small, asked) is None
    both = by_room([small, large], {w.id: seen(w) for w in (small, large)}, asked, Policy())
    assert {id_: found and found.filter for id_, found in both.items()} == {small.id: "vram", large.id: None}


def test_the_sentence_counts_each_filter_and_names_the_first_few() -> None:
    needs = Requirement("burn", tags=("optix",))
    many = [worker(f"w{number:04}") for number in range(7)]
    refused = [(each, Refusal(RefusedBy.TAGS, Clause("lacks", "optix"))) for each in many]
    turned = by_filter([*refused, (worker("p"), Refusal(RefusedBy.PAUSED, Clause("is", "paused")))], 5)
    assert [(each.filter, each.workers, len(each.first)) for each in turned] == [("tags", 7, 5), ("paused", 1, 1)]
    assert sentence(needs, 9, turned, 1, 0) == "9 workers: 7 lack optix, 1 is paused, 1 could take it now"
    assert sentence(needs, 0, [], 0, 0) == "no worker has joined the pool yet"


def test_of_a_job_whose_time_is_ahead_that_is_said_first() -> None:
    then = datetime(2030, 1, 31, 18, tzinfo=timezone.utc)
    told = "it may not start before 2030-01-31 18:00:00 UTC; 3 workers: 3 could take it then"
    assert sentence(Requirement("burn"), 3, [], 3, 0, then) == told


def test_every_filter_and_every_status_has_words() -> None:
    turning_away = [RefusedBy[status.name] for status in WorkerStatus if status is not WorkerStatus.HEALTHY]
    assert {RefusedBy.DOWN, RefusedBy.PAUSED} < set(turning_away)
    requirement = Requirement("burn", tags=("optix",), group="night")
    for turned_by in RefusedBy:
        one, many = (words(Turned(turned_by, workers, ()), requirement) for workers in (1, 2))
        assert one and many and "{" not in one and "None" not in one, turned_by


def test_a_status_is_said_as_people_say_it() -> None:
    ways = {"left": Health.LEFT, "down": Health.DOWN}
    burn = ANY.spec.requirement
    reasons = {name: by_setup(worker("w", health=health), burn, Policy()) for name, health in ways.items()}
    reasons["paused"] = by_setup(worker("w", intent=Intent.PAUSED), burn, Policy())
    assert {name: found and found.why for name, found in reasons.items()} == {
        "left": "has left",
        "down": "is down",
        "paused": "is paused (by somebody, until somebody resumes it)",
    }
    turned = [Turned(RefusedBy.LEFT, 3, ()), Turned(RefusedBy.PAUSED, 2, ())]
    assert sentence(Requirement("burn"), 5, turned, 0, 0) == "5 workers: 3 have left, 2 are paused"


def test_a_placement_is_told_by_what_its_strategy_goes_by() -> None:
    load: dict[str, Any] = {"gpu": {"share": 0.2, "measured": False}, "queue": None}
    record = {"score": 0.3, "queued": False, "load": 0.1, "parts": load}
    assert won({**record, "strategy": "least-loaded"}) == (
        "by least-loaded: score 0.3; load 0.1 (utilisation 20 %, not measured: others' mean)"
    )
    turn = {**record, "strategy": "round-robin", "score": 81234.0, "queued": True, "parts": {}}
    assert won(turn) == "by round-robin: whose turn it was, a place behind its slots; load 0.1"
    assert won({**record, "strategy": "capability-first", "score": 9000.1, "parts": {}}) == (
        "by capability-first: who has least to spare; load 0.1"
    )
