"""Worker classes, sets, and which of them a demand reads: whatever is shared, each worker stands where it belongs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.coordinator.placement.index_plan import CLOSE_AFTER_S, MOST_CLASSES, IndexPlan, Rules, Source
from app.coordinator.placement.scoring import offset, order
from app.coordinator.placement.worker_classes import Traits, terms_of, traits_of
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
    above_vram_mb=st.sampled_from([None, None, 9_000]),
)
demands = st.lists(wishes, min_size=1, max_size=8, unique=True)


def sources(plan: IndexPlan, requirement: Requirement) -> tuple[Source, ...]:
    """The sets that an open demand reads."""
    demand = plan.find(requirement)
    assert demand is not None
    return plan.sources(demand)


def check(plan: IndexPlan, requirement: Requirement, workers: list[Worker], rules: Rules) -> None:
    """What the demand reads has each worker that matches once, with its need and what is added, and nobody else."""
    strategy, read = rules.strategy_of(requirement), sources(plan, requirement)
    for worker in workers:
        stands = {membership.name: membership for membership in plan.take(worker)}
        found = [(source, stands[source.name]) for source in read if source.name in stands]
        assert len(found) == (refusal(worker, requirement) is None)
        for source, membership in found:
            needs = need(worker, requirement)
            assert source.needs == membership.needs == needs
            assert membership.order == order(strategy)
            added = offset(strategy, worker, requirement, needs, rules.prefer_weight)
            assert source.offset + membership.offset == pytest.approx(added)


@settings(max_examples=120, deadline=None)
@given(fleets, demands, st.sampled_from(STRATEGIES), st.sampled_from([{}, {"night": "round-robin"}]), fleets)
def test_every_demand_reads_exactly_the_workers_that_match_it(
    workers: list[Worker], asked: list[Requirement], strategy: str, of_groups: dict[str, str], changed: list[Worker]
) -> None:
    plan, rules = IndexPlan(), Rules(strategy, of_groups)
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
    plan = IndexPlan()
    demand = Requirement("burn", only_workers=(says.id, takes_none.id), above_vram_mb=9_000)
    for worker in (says, takes_none):
        plan.take(worker)
    plan.open(demand)
    for worker in (says, takes_none):
        plan.take(worker)
    check(plan, demand, [says, takes_none], Rules())


@settings(max_examples=80, deadline=None)
@given(fleets, demands)
def test_workers_of_one_class_are_alike_to_every_filter(workers: list[Worker], asked: list[Requirement]) -> None:
    terms = frozenset(term for demand in asked for term in terms_of(demand, "capability-first"))
    examples: dict[Traits, Worker] = {}
    for worker in workers:
        like = examples.setdefault(traits_of(worker, terms), worker)
        for demand in asked:
            wish = replace(demand, only_workers=())
            for _, turns_away in FILTERS:
                assert bool(turns_away(worker, wish)) == bool(turns_away(like, wish))


def test_demands_that_tell_no_workers_apart_share_their_sets() -> None:
    workers = [replace(a_worker("x", tags=TAGS), id=WorkerId(f"{n:012d}")) for n in range(5)]
    plan = IndexPlan()
    for worker in workers:
        plan.take(worker)
    for tag in TAGS:
        plan.open(Requirement("burn", tags=(tag,)))
        plan.open(Requirement("burn", prefers=((tag, 1.0),)))
    assert len(plan.names()) == 1
    assert not plan.open(Requirement("burn"))


def test_a_demand_that_would_read_too_many_sets_has_one_of_its_own() -> None:
    models = [f"model:{number}" for number in range(MOST_CLASSES + 4)]
    workers = [replace(a_worker("x", tags=(tag,)), id=WorkerId(f"{n:012d}")) for n, tag in enumerate(models)]
    plan = IndexPlan()
    for worker in workers:
        plan.take(worker)
    asked = [Requirement("burn", prefers=((tag, 1.0),)) for tag in models]
    for demand in asked:
        plan.open(demand)
    for worker in workers:
        plan.take(worker)
    assert max(len(sources(plan, demand)) for demand in asked) <= MOST_CLASSES
    assert sum(len(sources(plan, demand)) == 1 for demand in asked) >= 4


def test_worker_classes_that_become_too_many_later_are_taken_apart_demand_by_demand() -> None:
    models = [f"model:{number}" for number in range(MOST_CLASSES + 4)]
    workers = [replace(a_worker("x"), id=WorkerId(f"{n:012d}")) for n in range(len(models))]
    plan = IndexPlan()
    for worker in workers:
        plan.take(worker)
    asked = [Requirement("burn", prefers=((tag, 1.0),)) for tag in models]
    for demand in asked:
        plan.open(demand)
    workers = [replace(worker, dynamic_tags=(tag,)) for worker, tag in zip(workers, models, strict=True)]
    for worker in workers:
        plan.take(worker)
    assert max(len(sources(plan, demand)) for demand in asked) > MOST_CLASSES
    for _ in asked:
        plan.narrow()
        for worker in workers:
            plan.take(worker)
    assert max(len(sources(plan, demand)) for demand in asked) <= MOST_CLASSES
    for demand in asked:
        check(plan, demand, workers, Rules())


def test_a_demand_that_nobody_used_for_an_hour_is_closed() -> None:
    now = [0.0]
    plan, worker = IndexPlan(lambda: now[0]), a_worker("x", tags=("a",))
    plan.take(worker)
    old, new = Requirement("burn", tags=("a",)), Requirement("burn")
    plan.open(old)
    now[0] = CLOSE_AFTER_S
    plan.open(new)
    plan.close_unused()
    assert plan.find(old) is not None
    found = plan.find(new)
    assert found is not None
    now[0] *= 2
    plan.use(found)
    now[0] += 1
    plan.close_unused()
    assert (plan.find(old), plan.find(new)) == (None, found)


def test_what_was_of_worker_classes_that_are_gone_is_forgotten() -> None:
    plan, worker = IndexPlan(), a_worker("x", tags=("a",))
    for workflow in ("burn", "cut"):
        plan.open(Requirement(workflow, tags=("a",)))
    for number in range(100):
        plan.take(replace(worker, tags=("a",) if number % 2 else ()))
    assert len(plan._memberships) == len(plan._classes.examples) == 1


def test_a_worker_is_held_only_against_the_demands_with_own_sets_that_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [replace(a_worker("x"), id=WorkerId(f"{n:012d}")) for n in range(3)]
    plan, asked = IndexPlan(), [Requirement("burn", only_workers=(worker.id,)) for worker in workers]
    for worker in workers:
        plan.take(worker)
    for demand in asked:
        assert plan.open(demand) == set(demand.only_workers)
    looked: list[Requirement] = []

    def noted(worker: Worker, wish: Requirement) -> Refusal | None:
        looked.append(wish)
        return refusal(worker, wish)

    monkeypatch.setattr("app.coordinator.placement.index_plan.refusal", noted)
    assert len(plan.take(workers[1])) == 1
    assert looked == [asked[1]]


def test_a_demand_with_own_sets_that_was_closed_has_no_set_any_more() -> None:
    now = [0.0]
    plan, worker = IndexPlan(lambda: now[0]), a_worker("x")
    demand = Requirement("burn", only_workers=(worker.id,))
    plan.take(worker)
    plan.open(demand)
    assert len(plan.take(worker)) == 1
    now[0] = CLOSE_AFTER_S + 1
    plan.close_unused()
    assert plan.take(worker) == ()
