"""The scripts in any order, called by two leaders at odds, against a model that fits on a page.

The model knows leases, room and who stands in which set. Scores it does not know; but however they came
about, writing the same rooms once more must change none of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.coordinator.attempts.leases import Leases
from app.coordinator.placement.index_plan import Source
from app.coordinator.placement.place import Place, Run, Unplaced, argument, placed
from app.coordinator.scripts import script
from app.coordinator.stores import Stores
from app.ledger.db import Ledger
from app.ledger.waiting import WaitingJob
from app.pool.capacity import Need
from app.pool.model import JobId, Requirement, WorkerId
from app.pool.protocol import LeaseState, Reservation, Revocation
from tests.kit.placement_scene import KEYS
from tests.kit.waiting_jobs import waiting

WORKERS = (WorkerId("aaaaaaaaaaaa"), WorkerId("bbbbbbbbbbbb"))
JOBS = tuple(JobId(f"j{number}") for number in range(3))
NEEDS = {
    "any": Need(),
    "shares": Need(vram_mb=5000, least_mb=5000),
    "whole": Need(cards=1),
    "large": Need(slots=2, cards=2, least_mb=6000),
}
CARDS_MB = {"g0": 8000, "g1": 10_000}
STATES = tuple(LeaseState)  # a lease only moves on
RESERVED = (Reservation(), Reservation(("g1",), 1000), Reservation(("g0",), whole=True), Reservation(slots=2))
OURS, BOTH, UNMEASURED = 0, -1, -2  # what is known of the memory in use on a card
WHO, WORKER, JOB = st.integers(0, 1), st.sampled_from(WORKERS), st.sampled_from(JOBS)


@dataclass(frozen=True)
class Believed:
    """A lease as the model has it."""

    attempt: int
    state: LeaseState
    holds: Reservation


@dataclass
class Room:
    """What a worker may hold, and its leases, which outlive it."""

    text: str = ""  # as it was last written; '': it is not there
    slots: int = 0
    capacity: int = 0
    others_mb: int = 0  # in use on each card
    measured: int = OURS
    most_mb: int = 0  # that others may hold of a whole card
    sets: frozenset[str] = frozenset()
    leases: dict[JobId, Believed] = field(default_factory=dict)

    @property
    def held(self) -> list[Reservation]:
        return [lease.holds for lease in self.leases.values() if lease.state is not LeaseState.ENDED]

    def on(self, uuid: str) -> list[Reservation]:
        return [each for each in self.held if uuid in each.gpus and (each.whole or each.vram_mb)]

    def others_on(self, uuid: str) -> int:
        ours = sum(each.vram_mb for each in self.on(uuid))
        return max(0, self.others_mb - ours) if self.measured == BOTH else self.others_mb

    def free_mb(self, uuid: str) -> int:
        if self.measured == UNMEASURED:
            return 0
        return CARDS_MB[uuid] - self.others_on(uuid) - sum(each.vram_mb for each in self.on(uuid))

    def fits(self, need: Need) -> list[str]:
        """The cards that would do for it."""
        return [
            uuid
            for uuid in CARDS_MB
            if not any(need.cards or each.whole for each in self.on(uuid))
            and not (need.cards and self.others_on(uuid) > self.most_mb)
            and (not need.least_mb or self.free_mb(uuid) >= need.least_mb)
        ]

    def has_room(self, need: Need) -> bool:
        cards = max(need.cards, 1 if need.least_mb else 0)
        alone = need.slots == 1 and all(each.slots == 1 for each in self.held)  # else no places behind the slots
        places = self.capacity if alone else self.slots
        return sum(each.slots for each in self.held) + need.slots <= places and len(self.fits(need)) >= cards

    def stands_in(self, name: str) -> bool:
        return bool(self.text) and name in self.sets and self.has_room(NEEDS[name])

    def could_take(self, vram_mb: int, name: str) -> bool:
        return self.stands_in(name) and self.has_room(asked(vram_mb, name))

    def has_older_attempt(self, job: JobId) -> bool:
        lease = self.leases.get(job)
        return lease is not None and lease.state is not LeaseState.ENDED


def asked(vram_mb: int, name: str) -> Need:
    """What a job that names so much memory needs in this set: the larger counts."""
    need = NEEDS[name]
    return replace(need, least_mb=max(need.least_mb, vram_mb), vram_mb=0 if need.cards else max(need.vram_mb, vram_mb))


class Scripts(RuleBasedStateMachine):
    """Two workers, two leaders; each call is one leader's, whatever the other has just done."""

    leaders: tuple[Stores, Stores]

    @initialize()
    def redis_is_empty(self) -> None:
        self.leaders[0].redis.flushdb()
        self.rooms = {worker: Room() for worker in WORKERS}
        self.attempts = dict.fromkeys(JOBS, 1)

    @rule(
        who=WHO,
        worker=WORKER,
        slots=st.integers(1, 4),
        depth=st.integers(0, 2),
        others_mb=st.sampled_from((0, 0, 4000)),
        measured=st.sampled_from((OURS, BOTH, UNMEASURED)),
        most_mb=st.sampled_from((2000, 4000)),
        sets=st.frozensets(st.sampled_from(sorted(NEEDS)), min_size=1),
        order=st.sampled_from(("load", "turn")),
        gone=st.sampled_from((*[False] * 7, True)),
    )
    def refresh(
        self,
        who: int,
        worker: WorkerId,
        slots: int,
        depth: int,
        others_mb: int,
        measured: int,
        most_mb: int,
        sets: frozenset[str],
        order: str,
        gone: bool,
    ) -> None:
        room = self.rooms[worker]
        room.slots, room.capacity, room.sets = slots, slots + depth, sets
        room.others_mb, room.measured, room.most_mb = others_mb, measured, most_mb
        needs = {name: NEEDS[name] for name in sorted(sets)}
        facts = {
            "incarnation": 1,
            "slots": slots,
            "capacity": slots + depth,
            "weights": [0.3, 0.4, 0.3],
            "gpu": 0.5,
            "reserve": 0,
            "cards": [[uuid, size, others_mb, measured, most_mb] for uuid, size in CARDS_MB.items()],
            "sets": [[name, it.slots, it.cards, it.least_mb, order, 0.1] for name, it in needs.items()],
        }
        room.text = "" if gone else json.dumps(facts)
        self._write(who, worker)

    def _write(self, who: int, worker: WorkerId) -> None:
        script(self.leaders[who].redis, "placement/refresh")(
            keys=[KEYS.lease(worker), KEYS.worker(worker), KEYS.load],
            args=[worker, KEYS.eligible_prefix, self.rooms[worker].text],
        )

    @rule(
        who=WHO,
        jobs=st.lists(JOB, min_size=1, max_size=3, unique=True),
        name=st.sampled_from(sorted(NEEDS)),
        vram_mb=st.sampled_from((0, 0, 3000, 9000)),
        excluded=st.sets(WORKER, max_size=1),
    )
    def place(self, who: int, jobs: list[JobId], name: str, vram_mb: int, excluded: set[WorkerId]) -> None:
        waits = [waiting(job, attempt=self._next(job)) for job in jobs]
        run, source = Run(Requirement(name, min_vram_mb=vram_mb), waits, excluded), Source(name, 0.0, NEEDS[name])
        answers = script(self.leaders[who].redis, "placement/place")(
            keys=[KEYS.load, KEYS.turn],
            args=[
                KEYS.lease_prefix,
                KEYS.worker_prefix,
                KEYS.eligible_prefix,
                argument(run, [source], "load"),
            ],
        )
        full = False  # for one job of a run, and so for those behind it
        for job, place in zip(waits, placed(answers, "least-loaded"), strict=True):
            able = [w for w, room in self.rooms.items() if w not in excluded and room.could_take(vram_mb, name)]
            free = [w for w in able if not self.rooms[w].has_older_attempt(job.id)]
            if isinstance(place, Place):
                assert place.worker in free and not full
                self._placed(job, place, asked(vram_mb, name))
            else:
                assert full or not free
                older = not full and self._in_the_way(job, name, excluded)
                assert place is (Unplaced.OLDER_ATTEMPT if older else Unplaced.FULL)
                full = not older

    def _in_the_way(self, job: WaitingJob, name: str, excluded: set[WorkerId]) -> bool:
        others = (room for worker, room in self.rooms.items() if worker not in excluded)
        return any(room.stands_in(name) and room.has_older_attempt(job.id) for room in others)

    def _next(self, job: JobId) -> int:
        self.attempts[job] += 1
        return self.attempts[job]

    def _placed(self, job: WaitingJob, place: Place, need: Need) -> None:
        room, holds = self.rooms[place.worker], place.reserved
        assert set(holds.gpus) <= set(room.fits(need))
        assert len(set(holds.gpus)) == min(len(room.fits(need)), max(1, need.cards))
        assert (holds.vram_mb, holds.whole, holds.slots) == (need.vram_mb, need.cards > 0, need.slots)
        room.leases[job.id] = Believed(job.attempt, LeaseState.GIVEN, holds)

    @rule(
        who=WHO,
        worker=WORKER,
        job=JOB,
        state=st.sampled_from(STATES),
        older=st.sampled_from((0, 0, 0, 1, -1)),
        reserved=st.sampled_from(RESERVED),
    )
    def mark(
        self, who: int, worker: WorkerId, job: JobId, state: LeaseState, older: int, reserved: Reservation
    ) -> None:
        attempt = max(1, self.attempts[job] - older)
        lease = self.rooms[worker].leases.get(job)
        batch = Leases(self.leaders[who]).batch()
        if state is LeaseState.GIVEN:
            batch.given(worker, job, attempt, reserved)
        elif state is LeaseState.CLAIMED:
            # A claim names what it holds where Redis forgot the lease, else says the same again.
            reserved = lease.holds if lease and lease.attempt == attempt else reserved
            batch.claimed(worker, job, attempt, f"n{who}", reserved)
        elif state is LeaseState.REVOKED:
            batch.revoked(worker, job, attempt, Revocation.TAKEN)
        else:
            batch.ended(worker, job, attempt)
        batch.send()
        if lease and (lease.attempt, STATES.index(lease.state)) >= (attempt, STATES.index(state)):
            return
        named = reserved if state in (LeaseState.GIVEN, LeaseState.CLAIMED) else Reservation()
        holds = lease.holds if lease and lease.attempt == attempt else named
        self.rooms[worker].leases[job] = Believed(attempt, state, holds)

    @rule(who=WHO, worker=WORKER, job=JOB, older=st.sampled_from((0, 1)))
    def release(self, who: int, worker: WorkerId, job: JobId, older: int) -> None:
        leases = self.rooms[worker].leases
        attempt = max(1, (leases[job].attempt if job in leases else 1) - older)
        batch = Leases(self.leaders[who]).batch()
        batch.released(worker, job, attempt)
        batch.send()
        if job in leases and leases[job].attempt == attempt:
            del leases[job]

    @invariant()
    def redis_and_model_agree(self) -> None:
        for worker, room in self.rooms.items():
            found = {job: believed(lease) for job, lease in self.leaders[0].live.leases(worker).items()}
            assert found == room.leases
        for name in NEEDS:
            members = {worker for worker, room in self.rooms.items() if room.stands_in(name)}
            assert set(self._scores(KEYS.eligible(name))) == members
        assert set(self._scores(KEYS.load)) == {worker for worker, room in self.rooms.items() if room.text}

    @invariant()
    def no_score_depends_on_how_it_came_about(self) -> None:
        names = [KEYS.load, *map(KEYS.eligible, NEEDS)]
        before = [self._scores(name) for name in names]
        for worker in WORKERS:
            self._write(1, worker)
        assert [self._scores(name) for name in names] == before

    def _scores(self, key: str) -> dict[str, float]:
        return dict(self.leaders[0].redis.zrange(key, 0, -1, withscores=True))


def believed(lease: Any) -> Believed:
    return Believed(lease.attempt, lease.state, Reservation(lease.gpus, lease.vram_mb, lease.whole, lease.slots))


@pytest.fixture
def leaders(redis_url: str) -> Iterator[tuple[Stores, Stores]]:
    with ExitStack() as stack:
        clients: list[Any] = [
            stack.enter_context(redis.Redis.from_url(redis_url, decode_responses=True)) for _ in range(2)
        ]
        no_ledger = cast(Ledger, None)
        yield Stores(no_ledger, clients[0], None, KEYS), Stores(no_ledger, clients[1], None, KEYS)


@pytest.mark.timeout(300)  # it ends within seconds, unless the computer is very busy
def test_any_order_of_scripts_by_any_leader_leaves_what_the_model_says(leaders: tuple[Stores, Stores]) -> None:
    scripts = type("OnRedis", (Scripts,), {"leaders": leaders})
    run_state_machine_as_test(
        scripts,
        settings=settings(
            max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
