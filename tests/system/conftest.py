"""The whole pool as a fixture: a test's own, or one of a whole module with agents of the test's own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.coordinator.stores import connect
from tests.kit.coordinator_scene import CoordinatorScene
from tests.kit.hosts import Network
from tests.kit.pool_with_agents import PoolWithAgents, new_pool_with_agents
from tests.kit.services import Services
from tests.kit.whole_pool import WholePool


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WholePool]:
    """A pool that has not been started yet; at the end nothing of it is left."""
    pool = WholePool(tmp_path / "home")
    yield pool
    try:
        pool.stop()
    finally:
        for pid in pool.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def network() -> Network | None:
    """Where each agent of the module has a host of its own; None: all are on this one. A module may override it."""
    return None


@pytest.fixture(scope="module")
def pool_of_module(
    tmp_path_factory: pytest.TempPathFactory, services: Services, network: Network | None
) -> Iterator[PoolWithAgents]:
    """What a module's tests share; it ends before its network does."""
    with new_pool_with_agents(tmp_path_factory.mktemp("site"), services, network) as site:
        yield site


@pytest.fixture
def site(pool_of_module: PoolWithAgents) -> Iterator[PoolWithAgents]:
    """The module's pool, without agents; at the end nothing of the test's is left in it."""
    yield pool_of_module
    pool_of_module.renew()


@pytest.fixture
def scene(database_url: str, redis_url: str, rq_url: str) -> Iterator[CoordinatorScene]:
    stores = connect(database_url, redis_url, rq_url, "pool:")
    with stores.redis, stores.rq:
        yield CoordinatorScene(stores)
    stores.ledger.close()
