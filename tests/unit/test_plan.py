"""Kinds, sets and which of them a class reads: whatever the plan shares, every worker stands where it belongs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.coordinator.placement.index_plan import CLOSE_AFTER_S, MOST_KINDS, Plan, Rules
from app.coordinator.placement.scoring import offset, order
from app.coordinator.placement.worker_classes import Demand, Facts, facts_of, words_of
from app.pool.capacity import need
from app.pool.matching import FILTERS, Refusal, refusal
from app.pool.model import Requirement, Worker, WorkerId, Workflow
from app.pool.policy import STRATEGIES
from tests.kit.placement_scene import a_worker

TAGS = ("a", "b", "c", "d")
some_tags = st.lists(st.sampled_from(TAGS), unique=True, max_size=4).map(tuple)
workflows = st.sampled_from(
    [
        (Workflow("burn", "python"),),
        (Workflow("burn", "python", vram_mb=2_000), Workflow("cut", "python", slots=2)),
        (),
    ]
)
fleets = st.lists(
    st.builds(
        lambda tags, dynamic, groups, gpus, offers, allowed: a_worker(
            "x", gpus, tags=tags, dynamic_tags=dynamic, groups=groups, workflows=offers, allowed_workflows=allowed
        ),
        some_tags,
        some_tags,
        st.sampled_from([(), ("day",), ("day", "night")]),
        st.sampled_from([(), (8_000,), (8_000, 24_000)]),
        workflows,
        st.sampled_from([(), ("cut",), ("burn",)]),
    ),
    min_size=1,
    max_size=12,
).map(lambda found: [replace(w, id=WorkerId(f"{n:012d}")) for n, w in enumerate(found)])
wishes = st.builds(
    Requirement,
    workflow=st.sampled_from(["burn", "cut"]),
    tags=st.lists(st.sampled_from(TAGS), unique=True, max_size=2).map(tuple),
    prefers=st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from([0.5, 1.0])), max_size=2).map(tuple),
    group=st.sampled_from([None, "day", "night"]),
    min_vram_mb=st.sampled_from([None, 0, 4_000, 10_000]),
    gpus=st.sampled_from([None, None, 1, 2]),
    only_workers=st.sampled_from([(), (), (WorkerId(f"{0:012d}"), WorkerId(f"{3:012d}"))]),
)
demands = st.lists(st.builds(Demand, wishes, st.sampled_from([0, 0, 9_000])), min_size=1, max_size=8, unique=True)


def check(plan: Plan, demand: Demand, workers: list[Worker], rules: Rules) -> None:
    """What the demand reads has each worker that matches once, with its need and what is added, and nobody else."""
    strategy, wish, parts = rules.strategy_of(demand), demand.requirement, plan.parts(demand)
    for worker in workers:
        stands = {entry.name: entry for entry in plan.take(worker)}
        found = [(part, stands[part.name]) for part in parts if part.name in stands]
        assert len(found) == (refusal(worker, wish) is None)
        for part, entry in found:
            needs = need(worker, wish, demand.above_mb)
            assert part.needs == needs
            assert (entry.needs.slots, entry.needs.cards, entry.needs.least_mb) == (
                needs.slots,
                needs.cards,
                needs.least_mb,
            )
            assert entry.order == order(strategy)
            added = offset(strategy, worker, wish, needs, rules.prefer_weight)
            assert part.offset + entry.offset == pytest.approx(added)


@settings(max_examples=120, deadline=None)
@given(fleets, demands, st.sampled_from(STRATEGIES), st.sampled_from([{}, {"night": "round-robin"}]), fleets)
def test_every_class_reads_exactly_the_workers_that_match_it(
    workers: list[Worker], asked: list[Demand], strategy: str, of_groups: dict[str, str], changed: list[Worker]
) -> None:
    plan, rules = Plan(), Rules(strategy, of_groups)
    plan.follow(rules)
    for worker in workers:
        plan.take(worker)
    written = {worker.id: plan.take(worker) for worker in workers}
    for demand in asked:
        for renewed in plan.open(demand):
            written[renewed] = plan.take(next(w for w in workers if w.id == renewed))
        for worker in workers:
            assert written[worker.id] == plan.take(worker)  # all whose sets changed were named
    for demand in asked:
        check(plan, demand, workers, rules)
    now = [*changed, *workers[len(changed) :]]
    for worker in now:
        plan.take(worker)
    for demand in asked:
        check(plan, demand, now, rules)


def test_workers_that_offer_a_workflow_differently_stand_in_different_sets() -> None:
    """Those that say how much memory it takes and those that do not, where more than either is wanted free."""
    says = a_worker("x", (24_000,), workflows=(Workflow("burn", "python", vram_mb=2_000),))
    takes_none = a_worker("y", (24_000,), workflows=(Workflow("burn", "python", vram_mb=0),))
    plan, demand = Plan(), Demand(Requirement("burn", only_workers=(says.id, takes_none.id)), 9_000)
    for worker in (says, takes_none):
        plan.take(worker)
    plan.open(demand)
    for worker in (says, takes_none):
        plan.take(worker)
    check(plan, demand, [says, takes_none], Rules())


@settings(max_examples=80, deadline=None)
@given(fleets, demands)
def test_workers_of_one_kind_are_alike_to_every_filter(workers: list[Worker], asked: list[Demand]) -> None:
    words = frozenset(word for demand in asked for word in words_of(demand, "capability-first"))
    kinds: dict[Facts, Worker] = {}
    for worker in workers:
        like = kinds.setdefault(facts_of(worker, words), worker)
        for demand in asked:
            wish = replace(demand.requirement, only_workers=())
            for _, turns_away in FILTERS:
                assert bool(turns_away(worker, wish)) == bool(turns_away(like, wish))


def test_classes_that_tell_no_workers_apart_share_their_sets() -> None:
    workers = [replace(a_worker("x", tags=TAGS), id=WorkerId(f"{n:012d}")) for n in range(5)]
    plan = Plan()
    for worker in workers:
        plan.take(worker)
    for tag in TAGS:
        plan.open(Demand(Requirement("burn", tags=(tag,))))
        plan.open(Demand(Requirement("burn", prefers=((tag, 1.0),))))
    assert len(plan.names()) == 1
    assert not plan.open(Demand(Requirement("burn")))


def test_a_class_that_would_read_too_many_sets_has_one_of_its_own() -> None:
    models = [f"model:{number}" for number in range(MOST_KINDS + 4)]
    workers = [replace(a_worker("x", tags=(tag,)), id=WorkerId(f"{n:012d}")) for n, tag in enumerate(models)]
    plan = Plan()
    for worker in workers:
        plan.take(worker)
    asked = [Demand(Requirement("burn", prefers=((tag, 1.0),))) for tag in models]
    for demand in asked:
        plan.open(demand)
    for worker in workers:
        plan.take(worker)
    assert max(len(plan.parts(demand)) for demand in asked) <= MOST_KINDS
    assert sum(len(plan.parts(demand)) == 1 for demand in asked) >= 4


def test_kinds_that_become_too_many_later_are_taken_apart_class_by_class() -> None:
    models = [f"model:{number}" for number in range(MOST_KINDS + 4)]
    workers = [replace(a_worker("x"), id=WorkerId(f"{n:012d}")) for n in range(len(models))]
    plan = Plan()
    for worker in workers:
        plan.take(worker)
    asked = [Demand(Requirement("burn", prefers=((tag, 1.0),))) for tag in models]
    for demand in asked:
        plan.open(demand)
    workers = [replace(worker, dynamic_tags=(tag,)) for worker, tag in zip(workers, models, strict=True)]
    for worker in workers:
        plan.take(worker)
    assert max(len(plan.parts(demand)) for demand in asked) > MOST_KINDS
    for _ in asked:
        plan.narrow()
        for worker in workers:
            plan.take(worker)
    assert max(len(plan.parts(demand)) for demand in asked) <= MOST_KINDS
    for demand in asked:
        check(plan, demand, workers, Rules())


def test_a_class_that_nobody_used_for_an_hour_is_closed() -> None:
    now = [0.0]
    plan, worker = Plan(lambda: now[0]), a_worker("x", tags=("a",))
    plan.take(worker)
    old, new = Demand(Requirement("burn", tags=("a",))), Demand(Requirement("burn"))
    plan.open(old)
    now[0] = CLOSE_AFTER_S
    plan.open(new)
    plan.close_unused()
    assert plan.is_open(old) and plan.is_open(new)
    now[0] *= 2
    plan.is_open(new)
    now[0] += 1
    plan.close_unused()
    assert not plan.is_open(old)
    assert plan.is_open(new)


def test_what_was_of_kinds_that_are_gone_is_forgotten() -> None:
    plan, worker = Plan(), a_worker("x", tags=("a",))
    for workflow in ("burn", "cut"):
        plan.open(Demand(Requirement(workflow, tags=("a",))))
    for number in range(100):
        plan.take(replace(worker, tags=("a",) if number % 2 else ()))
    assert len(plan._entries) == len(plan._kinds.like) == 1


def test_a_worker_is_held_only_against_the_classes_of_their_own_that_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [replace(a_worker("x"), id=WorkerId(f"{n:012d}")) for n in range(3)]
    plan, asked = Plan(), [Demand(Requirement("burn", only_workers=(worker.id,))) for worker in workers]
    for worker in workers:
        plan.take(worker)
    for demand in asked:
        assert plan.open(demand) == set(demand.requirement.only_workers)
    looked: list[Requirement] = []

    def noted(worker: Worker, wish: Requirement) -> Refusal | None:
        looked.append(wish)
        return refusal(worker, wish)

    monkeypatch.setattr("app.coordinator.placement.index_plan.refusal", noted)
    assert len(plan.take(workers[1])) == 1
    assert looked == [asked[1].requirement]


def test_a_class_of_its_own_that_was_closed_has_no_set_any_more() -> None:
    now = [0.0]
    plan, worker = Plan(lambda: now[0]), a_worker("x")
    demand = Demand(Requirement("burn", only_workers=(worker.id,)))
    plan.take(worker)
    plan.open(demand)
    assert len(plan.take(worker)) == 1
    now[0] = CLOSE_AFTER_S + 1
    plan.close_unused()
    assert plan.take(worker) == ()
