"""What is live is read the same way from a real Valkey and from fakeredis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
import redis

from app.pool.codec import to_json
from app.pool.keys import Keys
from app.pool.live import Live, portions
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Beat, Lease, LeaseState

KEYS = Keys("pool:")
A, B, C = (WorkerId(letter * 12) for letter in "abc")
LEASE = Lease(attempt=2, state=LeaseState.CLAIMED, nonce="n", gpus=("GPU-1",), vram_mb=512)


def beat(worker: WorkerId, seq: int = 1) -> Beat:
    return Beat(worker, 1, seq, interval_ms=15_000, ttl_ms=35_000, boot_id="b", slots=1, free_slots=1)


@pytest.fixture(params=["valkey", "fakeredis"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty database, real and pretended."""
    if request.param == "fakeredis":
        yield fakeredis.FakeRedis(decode_responses=True)
        return
    client = redis.Redis.from_url(request.getfixturevalue("redis_url"), decode_responses=True)
    yield client
    client.close()


@pytest.fixture
def live(client: Any) -> Live:
    return Live(client, KEYS)


def test_nothing_is_live_in_an_empty_database(live: Live) -> None:
    assert live.look([A]).beats == {}
    assert live.generation() is None
    assert live.leases(A) == {}


def test_a_look_gives_generation_and_the_beats_that_are_there(live: Live, client: Any) -> None:
    client.set(KEYS.generation, "g")
    client.set(KEYS.beat(B), to_json(beat(B)), px=35_000)

    look = live.look([A, B])

    assert look.generation == "g"
    assert look.beats == {B: beat(B)}


def test_a_look_at_no_worker_still_gives_the_generation(live: Live, client: Any) -> None:
    client.set(KEYS.generation, "g")

    assert live.look([]).generation == "g"


def test_the_age_of_a_beat_is_its_ttl_less_what_is_left(live: Live, client: Any) -> None:
    client.set(KEYS.beat(A), to_json(beat(A)), px=25_000)

    assert live.beats([A])[A].age_s == pytest.approx(10, abs=2)


@pytest.mark.parametrize("bad", ["{", '{"worker": 1}', to_json(beat(A)).replace('"cpu":null', '"cpu":NaN')])
def test_a_beat_that_cannot_be_read_hides_no_other(live: Live, client: Any, bad: str) -> None:
    client.set(KEYS.beat(A), bad)
    client.set(KEYS.beat(C), to_json(beat(C)), px=35_000)

    assert list(live.beats([A, C])) == [C]
    assert list(live.look([A, C]).beats) == [C]


def test_leases_are_read_by_job_and_by_worker(live: Live, client: Any) -> None:
    client.hset(KEYS.lease(A), "j" * 12, to_json(LEASE))
    client.hset(KEYS.lease(A), "k" * 12, "not a lease")

    assert live.leases(A) == {JobId("j" * 12): LEASE}
    assert live.leases_of([B, A]) == {B: {}, A: {JobId("j" * 12): LEASE}}


def test_portions_are_all_items_in_order() -> None:
    assert [list(portion) for portion in portions("abcde", 2)] == [["a", "b"], ["c", "d"], ["e"]]
    assert list(portions([], 2)) == []
