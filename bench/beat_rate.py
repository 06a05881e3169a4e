"""Beats a second that one core of the server carries, beside plain `SET key value PX` in the same run.

Each client waits for its answer before it asks again, as beats do; counted by the server's own CPU
time, so that slow clients on the same computer change nothing. A beat finds what a worker's does: what
is wanted of it, one lease, the generation.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any

from redis import Redis

from app.pool.codec import to_json
from app.pool.keys import Keys
from app.pool.model import WorkerId, new_id
from app.pool.protocol import Lease, LeaseState, Wanted
from bench.kit.figures import publish
from bench.kit.line import Line, unheard
from bench.kit.pool import cpu_s
from bench.kit.sim import LARGE_MB, Told, beat_of, card

CLIENTS = 50
ROUND_S = 4.0
ROUNDS = 3
INTERVAL_S, TTL_S = 15.0, 35.0
KEYS = Keys("bench:")  # apart from those of the pool
COLUMNS = ("a second of the server's CPU", "rounds", "min", "median", "max", "ratio")

Ask = Callable[[Line, WorkerId, Callable[[Any], object]], None]


def measure(url: str, server: int) -> None:
    """Both in turns, on the server of this process id, beside a pool that has no workers."""
    names = [WorkerId(new_id()) for _ in range(CLIENTS)]
    _write(url, names)
    asks = _asks()
    rates: dict[str, list[float]] = {word: [] for word in asks}
    for _ in range(ROUNDS):
        for word, ask in asks.items():
            rates[word].append(_rate(url, server, names, ask))
    middle = {word: sorted(found)[len(found) // 2] for word, found in rates.items()}
    base = middle["plain SET PX"]
    rows = [[word, ROUNDS, min(found), middle[word], max(found), middle[word] / base] for word, found in rates.items()]
    publish("beat_rate", "Beats on one core of the server (target: at least 0.4 of plain SET)", COLUMNS, rows)


def _write(url: str, names: Sequence[WorkerId]) -> None:
    """What the coordinator has written for each of these."""
    wanted = to_json(Wanted(1, "active", 0, round(INTERVAL_S * 1000), 2, 0, 600))
    lease = to_json(Lease(attempt=1, state=LeaseState.CLAIMED, nonce=token_hex(8)))
    with Redis.from_url(url) as client:
        client.set(KEYS.generation, token_hex(16))
        for name in names:
            client.hset(KEYS.worker(name), mapping={"wanted": wanted, "incarnation": 1})
            client.hset(KEYS.lease(name), new_id(), lease)


def _asks() -> dict[str, Ask]:
    told = Told(WorkerId(new_id()), 1, 1, (card("bench", 0, LARGE_MB),), ("bench",))
    text, ttl_ms = to_json(beat_of(told, 1, INTERVAL_S, TTL_S)), round(TTL_S * 1000)

    def plain(line: Line, worker: WorkerId, then: Callable[[Any], object]) -> None:
        line.call("SET", KEYS.beat(worker), text, "PX", ttl_ms, answered=then)

    def beat(line: Line, worker: WorkerId, then: Callable[[Any], object]) -> None:
        line.pipeline(
            (("SET", KEYS.beat(worker), text, "PX", ttl_ms), unheard),
            (("HGETALL", KEYS.lease(worker)), unheard),
            (("HMGET", KEYS.worker(worker), "wanted", "incarnation"), unheard),
            (("GET", KEYS.generation), then),
        )

    return {"plain SET PX": plain, "beat (SET PX, leases, wanted, generation)": beat}


def _rate(url: str, server: int, names: Sequence[WorkerId], ask: Ask) -> float:
    selector = selectors.DefaultSelector()
    lines = [Line(url, selector) for _ in names]
    done = 0
    end = time.monotonic() + ROUND_S

    def asked(number: int) -> None:
        def again(_: Any) -> None:
            nonlocal done
            done += 1
            asked(number)

        if time.monotonic() < end:
            ask(lines[number], names[number], again)

    before = cpu_s(server)
    for number in range(len(names)):
        asked(number)
    while time.monotonic() < end:
        for key, events in selector.select(0.1):
            key.data.ready(events)
    used = cpu_s(server) - before
    for line in lines:
        line.close()
    return done / used
