"""The Procfile: the same parts in production style, on servers that somebody else runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.ledger import tokens
from app.ledger.db import Ledger
from tests.kit.services import eventually
from tests.kit.whole_pool import READY_S, ROOT, WholePool, clean


@pytest.fixture
def honcho(tmp_path: Path, database_url: str, redis_server: str) -> Iterator[WholePool]:
    """`honcho start` on a ledger with an admin's and a join token."""
    pool = WholePool(tmp_path / "home")
    pool.home.mkdir()
    ledger = Ledger.connect(database_url, size=1)
    (pool.home / "admin-token").write_text(tokens.create(ledger, "admin", "admin")[1])
    join = tokens.create(ledger, "join", "admin")[1]
    ledger.close()
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_server,
        "MUSTER_HOME": str(pool.home),
        "MUSTER_HOST_ID": pool.mark,
        "MUSTER_TEST": pool.mark,
        "MUSTER_PORT": str(pool.port),
        "MUSTER_SERVER": pool.server,
        "MUSTER_JOIN_TOKEN": join,
        "MUSTER_GPUS": "",
    }
    with (tmp_path / "honcho.out").open("wb") as said:
        pool.process = subprocess.Popen(
            ["honcho", "start"], cwd=ROOT, env=clean(os.environ) | own, stdout=said, stderr=said
        )
    yield pool
    for pid in pool.processes():
        os.kill(pid, signal.SIGKILL)
    pool.process.wait()


def test_the_procfile_runs_a_pool_that_ends_on_sigterm(honcho: WholePool) -> None:
    eventually(honcho.healthy_workers, READY_S)
    honcho.end(signal.SIGTERM)
    eventually(lambda: not honcho.processes(), 10)
