"""Heartbeats and connections of healthy agents, in a real pool: settings that change, connections that are cut."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from agent.processes import boottime_ns
from app.pool.live import Live
from app.pool.model import WorkerId
from app.pool.policy import Clocks
from app.pool.protocol import Beat
from tests.kit import history
from tests.kit.agents import Agent
from tests.kit.pool_with_agents import BUSY_S, INTERVAL_S, KEYS, PoolWithAgents, new_pool_with_agents
from tests.kit.processes import send
from tests.kit.proxy import Proxy
from tests.kit.services import Services, eventually

pytestmark = pytest.mark.timeout(180)
BACK_S = 0.1
LOOK_S = 0.002  # between two looks: who spins would keep the proxy from its work
STEP_S = 0.2  # a step of the jobs, and what the first moment of a beat takes
ROUNDS, STALLS, STALL_S = 47, 6, 1.0


@pytest.fixture
def proxy(services: Services) -> Iterator[Proxy]:
    proxy = Proxy(services.redis("valkey"))
    yield proxy
    proxy.close()


@pytest.fixture
def site(tmp_path: Path, services: Services, proxy: Proxy) -> Iterator[PoolWithAgents]:
    """A pool whose agents reach Redis through the proxy alone."""
    direct = proxy.server_url
    told = {
        "REDIS_URL": f"{direct}/1",
        "MUSTER_AGENT_REDIS_URL": f"{proxy.url}/1",
        "MUSTER_AGENT_RQ_REDIS_URL": f"{proxy.url}/0",
    }
    with new_pool_with_agents(tmp_path, services, environment=told) as site:
        yield site


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Any]:
    with redis.Redis.from_url(f"{proxy.server_url}/1", decode_responses=True) as client:
        yield client


def doubted(site: PoolWithAgents, workers: list[WorkerId]) -> list[dict[str, Any]]:
    """Every change of these workers' health since they joined."""
    changes = site.rows("SELECT * FROM worker_transitions WHERE from_health IS NOT NULL")
    return [each for each in changes if each["worker_id"] in workers]


@contextmanager
def ahead_of_others(site: PoolWithAgents, client: Any) -> Iterator[None]:
    """Whatever else the computer does waits for this pool and for us: what is measured is the pool's."""
    ours = {os.getpid(), client.info()["process_id"], *site.pool.processes()}
    pids = ours.union(*(agent.processes() for agent in site.agents))
    prefer(pids, -15)
    try:
        yield
    finally:
        prefer(pids, 0)


def prefer(pids: set[int], nice: int) -> None:
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)


@pytest.mark.alone
def test_of_200_forced_disconnects_none_degrades_and_each_is_back_within_100_ms(
    site: PoolWithAgents, proxy: Proxy, client: Any
) -> None:
    ids = [agent.id for agent in site.crew(2)]

    def kill() -> None:
        for each in client.client_list():
            if int(each["addr"].rpartition(":")[2]) in proxy.ports:
                client.client_kill_filter(_id=each["id"])

    def stall() -> None:
        proxy.stall(STALL_S)
        for worker in ids:
            client.publish(KEYS.bell_of(worker), "look")

    eventually(lambda: all(beat.free_slots for beat in beats(client, ids).values()))  # their starts are over
    with ahead_of_others(site, client):
        took_s = [
            seconds
            for cut, rounds in ((kill, ROUNDS), (proxy.reset, ROUNDS), (stall, STALLS))
            for _ in range(rounds)
            for seconds in back_after(cut, client, ids)
        ]
    assert len(took_s) == 200
    assert max(took_s) <= BACK_S, sorted(took_s)[-10:]
    assert not doubted(site, ids)


def back_after(cut: Callable[[], object], client: Any, workers: list[WorkerId]) -> list[float]:
    """Seconds from the end of the cut until each listens again and a beat of it has got through."""
    before = beats(client, workers)
    cut()
    began = time.monotonic()
    took_s: dict[WorkerId, float] = {}
    while len(took_s) < len(workers):
        now_s = time.monotonic() - began
        assert now_s < 10, took_s
        listen = dict(client.pubsub_numsub(*[KEYS.bell_of(worker) for worker in workers]))
        present = beats(client, workers)
        for worker in workers:
            if listen[KEYS.bell_of(worker)] and present[worker].seq > before[worker].seq:
                took_s.setdefault(worker, now_s)
        time.sleep(LOOK_S)
    return list(took_s.values())


def beats(client: Any, workers: list[WorkerId]) -> dict[WorkerId, Beat]:
    return {worker: live.beat for worker, live in Live(client, KEYS).beats(workers).items()}


def test_changed_settings_hold_within_one_old_interval_without_a_false_alarm(site: PoolWithAgents, client: Any) -> None:
    site.crew(2)
    victims = [(job, agent, agent.id) for job, agent in (site.running(strict=True) for _ in range(2))]
    [witness] = site.crew(1, MUSTER_SLOTS="2")
    ids = [witness.id, *(worker for _, _, worker in victims)]
    clocks = Clocks(INTERVAL_S, 2)
    with ahead_of_others(site, client):
        for new in (Clocks(3.0, 1), Clocks(0.8, 5), Clocks(1.0, 2)):
            site.change(heartbeat_interval_s=new.interval_s, missed_beats=new.missed_beats)
            eventually(partial(all_by, client, ids, new), clocks.interval_s)
            eventually(partial(all_newer, client, beats(client, ids)))
            assert not doubted(site, ids)
            clocks = new
            if victims:
                job, agent, worker = victims.pop()
                ids.remove(worker)
                see_the_deadline_follow(site, job, agent, clocks)


def all_newer(client: Any, seen: dict[WorkerId, Beat]) -> bool:
    """Whether each has beaten twice since: the first beat may have been under way."""
    present = beats(client, list(seen))
    return all(worker in present and present[worker].seq > beat.seq + 1 for worker, beat in seen.items())


def all_by(client: Any, workers: list[WorkerId], clocks: Clocks) -> bool:
    """Whether their beats name these clocks, and live as long as these say."""
    found = Live(client, KEYS).beats(workers).values()
    wanted = (round(clocks.interval_s * 1000), round(clocks.ttl_s * 1000))
    named = {(each.beat.interval_ms, each.beat.ttl_ms) for each in found} == {wanted}
    left_ms = [client.pttl(KEYS.beat(worker)) for worker in workers]
    return len(found) == len(workers) and named and max(left_ms) <= clocks.ttl_s * 1000


def see_the_deadline_follow(site: PoolWithAgents, job: str, agent: Agent, clocks: Clocks) -> None:
    """A strict attempt without a beat ends when the present settings say, neither sooner nor later."""
    frozen_s = boottime_ns() / history.S
    send(signal.SIGSTOP, agent.parts("main"))  # the beat goes on without its pulse for half an interval at most
    site.stepped(job, 2)
    ran_s = history.attempts(site.moments(job))[1][-1].at / history.S - frozen_s
    assert (clocks.missed_beats - 1) * clocks.interval_s - STEP_S < ran_s
    assert ran_s < clocks.ttl_s + clocks.interval_s / 2 + BUSY_S
    assert not history.overlap_s(site.moments(job))
