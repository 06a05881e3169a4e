"""What people do meanwhile: re-tag and re-group workers, change queue depths and strategies; each drawn from a seed.

The ledger of the run writes down who had which tags and groups when, and what an assignment saw: see `record`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import psycopg

from agent.processes import boottime_ns
from app.pool.policy import STRATEGIES
from tests.chaos.faults import Fault
from tests.kit.agents import Agent
from tests.kit.pool_with_agents import PoolWithAgents

TAGS = ("red", "blue")
GROUP = "farm"
DEPTHS = (0, 0, 1, 2)
NEEDS: tuple[Mapping[str, Any], ...] = (
    {},
    {},
    {"requires": ["red"]},
    {"requires": ["red", "blue"]},
    {"group": GROUP},
    {"prefers": {"blue": 1}},
)
# Of one statement's snapshot, so that it sees what the assignment itself compared: hence STABLE.
RECORD = """
CREATE TABLE chaos_setups (
    worker_id text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), tags text[], groups text[]
);
CREATE FUNCTION chaos_setup() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_setups (worker_id, tags, groups) VALUES (NEW.id, NEW.tags, NEW.groups);
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_setup AFTER INSERT OR UPDATE OF tags, groups ON workers
    FOR EACH ROW EXECUTE FUNCTION chaos_setup();
CREATE FUNCTION chaos_seen() RETURNS trigger LANGUAGE plpgsql STABLE AS $$
BEGIN
    NEW.placement := coalesce(NEW.placement, '{}') || (
        SELECT jsonb_build_object('seen', jsonb_build_object(
            'tags', tags, 'groups', groups, 'capacity', slots + coalesce(queue_depth, 0)))
        FROM workers WHERE id = NEW.worker_id);
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_seen BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION chaos_seen();
"""


def record(database_url: str) -> None:
    """Have this ledger write down what the checks of placement.py read."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(RECORD)


def found_group(site: PoolWithAgents) -> None:
    """There is a group that jobs may be bound to."""
    site.pool.client.post("/admin/groups", {"name": GROUP})


def everything_everywhere(site: PoolWithAgents) -> None:
    """Every worker has all tags and is in the group: every job fits everywhere."""
    for action, what in (("tag", {"tags": list(TAGS)}), ("group", {"groups": [GROUP]})):
        _act(site, {"action": action, "filter": {}, **what})


def meddle(random_: random.Random, site: PoolWithAgents, agent: Agent, worker: str) -> Fault:
    """One thing that people do, to this worker or to the pool."""
    what = random_.choice((_tag, _group, _depth, _strategy))(random_, site, worker)
    return Fault(what, agent, worker, boottime_ns())


def _tag(random_: random.Random, site: PoolWithAgents, worker: str) -> str:
    action, tag = random_.choice(("tag", "untag")), random_.choice(TAGS)
    _act(site, {"action": action, "workers": [worker], "tags": [tag]})
    return f"{action} {tag}"


def _group(random_: random.Random, site: PoolWithAgents, worker: str) -> str:
    action = random_.choice(("group", "ungroup"))
    _act(site, {"action": action, "workers": [worker], "groups": [GROUP]})
    return f"{action} {GROUP}"


def _depth(random_: random.Random, site: PoolWithAgents, worker: str) -> str:
    depth = random_.choice(DEPTHS)
    site.patch(f"/admin/workers/{worker}", queue_depth=depth)
    return f"queue depth {depth}"


def _strategy(random_: random.Random, site: PoolWithAgents, _: str) -> str:
    whose, strategy = random_.choice(("pool", GROUP)), random_.choice(STRATEGIES)
    site.patch("/admin/settings" if whose == "pool" else f"/admin/groups/{GROUP}", strategy=strategy)
    return f"strategy {strategy} of the {whose}"


def _act(site: PoolWithAgents, body: dict[str, Any]) -> None:
    site.pool.client.post("/admin/workers/actions", body)
