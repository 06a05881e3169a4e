"""`python -m app up`: one command, one line when it cannot, nothing left when it ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from app.pool.errors import PoolError
from app.up.embedded.postgresql import postgresql
from app.up.processes import listen_problem
from app.up.reach import check_redis
from tests.kit.nvml import Card, Driver
from tests.kit.services import Services, eventually
from tests.kit.whole_pool import WholePool

pytestmark = pytest.mark.timeout(120)


def refusal(pool: WholePool, *options: str, **environment: str) -> str:
    """What it says when it refuses to start: one line, exit code 1."""
    pool.start(*options, ready=False, **environment)
    assert pool.process is not None
    assert pool.process.wait(30) == 1, pool.output
    lines = pool.output.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_it_becomes_ready_and_ends_without_a_trace(pool: WholePool) -> None:
    pool.start()
    assert len(pool.healthy_workers()) == 1
    assert stat.S_IMODE(pool.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((pool.home / "admin-token").stat().st_mode) == 0o600
    assert f"{pool.home}/admin-token" in pool.output

    began = time.monotonic()
    assert pool.end(signal.SIGINT) == 0
    assert time.monotonic() - began < 10
    eventually(lambda: not pool.processes(), 1)


def test_a_second_start_has_the_first_ones_history_and_tokens(pool: WholePool) -> None:
    pool.start()
    token, workers = pool.token, pool.healthy_workers()
    pool.stop()
    pool.start()
    again = pool.healthy_workers()
    assert pool.token == token
    assert [each["id"] for each in again] == [each["id"] for each in workers]
    assert again[0]["incarnation"] > workers[0]["incarnation"]


def test_a_second_up_on_the_same_home_changes_nothing(pool: WholePool) -> None:
    pool.start("--no-agent", "--no-restart")
    before = pool.processes().keys()
    assert "in use" in refusal(Second(pool.home))
    assert pool.processes().keys() == before


class Second(WholePool):
    """Another `up` on the same home, which says what it says elsewhere."""

    @property
    def _said(self) -> Path:
        return self.home.with_name("second.out")


def test_a_port_in_use_is_said_before_anything_is_made(pool: WholePool) -> None:
    with socket.create_server(("127.0.0.1", pool.port)):
        assert str(pool.port) in refusal(pool)
    assert not pool.home.exists()


def test_an_address_that_agents_cannot_call_is_refused(pool: WholePool) -> None:
    assert "0.0.0.0" in refusal(pool, "--bind", "0.0.0.0")


def test_a_home_that_cannot_be_used_is_named(pool: WholePool) -> None:
    pool.home.write_text("a file")
    assert str(pool.home) in refusal(pool)


def test_a_redis_that_cannot_be_reached_is_named(pool: WholePool) -> None:
    assert "Redis at redis://127.0.0.1:1" in refusal(pool, REDIS_URL="redis://:secret@127.0.0.1:1")
    assert "secret" not in pool.output


def test_a_postgresql_that_cannot_be_reached_is_named(pool: WholePool) -> None:
    said = refusal(pool, DATABASE_URL="postgresql://u:secret@127.0.0.1:1/muster")
    assert "PostgreSQL at postgresql://127.0.0.1:1/muster" in said
    assert "secret" not in said


def test_servers_that_are_named_are_used_and_none_is_embedded(
    pool: WholePool, database_url: str, services: Services
) -> None:
    pool.start("--no-agent", DATABASE_URL=database_url, REDIS_URL=services.redis("redis"))
    assert not any("valkey" in line or "postgres" in line for line in pool.processes().values())
    assert not (pool.home / "postgresql").exists()
    with redis.Redis.from_url(services.redis("redis")) as client:
        assert client.config_get("port")


def test_what_dies_is_started_again(pool: WholePool) -> None:
    pool.start()
    for part in ("app coordinator", "app web", "valkey-server", "postgres -D", "-m agent"):
        first, before = pool.only(part), set(pool.processes())
        os.kill(first, signal.SIGKILL)
        eventually(lambda part=part, before=before: _another(pool, part, before), 20)  # type: ignore[misc]
        eventually(pool.healthy_workers, 30)
    assert pool.output.count("it starts again in") >= 5


def _another(pool: WholePool, part: str, before: set[int]) -> bool:
    return any(part in line for pid, line in pool.processes().items() if pid not in before)


def test_with_no_restart_what_dies_stays_dead(pool: WholePool) -> None:
    pool.start("--no-agent", "--no-restart")
    os.kill(pool.only("app coordinator"), signal.SIGKILL)
    eventually(lambda: "it is not started again" in pool.output)
    assert not any("app coordinator" in line for line in pool.processes().values())


def test_kill_9_leaves_no_process(pool: WholePool) -> None:
    pool.start()
    pool.end(signal.SIGKILL)
    eventually(lambda: not pool.processes(), 5)


def test_the_port_is_free_at_once_after_kill_9(pool: WholePool) -> None:
    pool.start("--no-agent")
    pool.end(signal.SIGKILL)
    eventually(lambda: listen_problem("127.0.0.1", pool.port) is None, 0.4)


def test_a_home_starts_again_after_kill_9_beside_a_server_left_over(pool: WholePool) -> None:
    pool.start("--no-agent")
    left_over = pool.only("postgres -D")
    os.kill(left_over, signal.SIGSTOP)  # so that what the kernel sends it when `up` dies waits
    pool.end(signal.SIGKILL)
    eventually(lambda: not any("-m app" in line for line in pool.processes().values()))
    assert left_over in pool.processes()
    token = pool.token
    pool.start("--no-agent")
    assert left_over not in pool.processes()
    assert pool.token == token


def test_another_address_has_web_and_redis_and_is_what_agents_are_told(pool: WholePool) -> None:
    pool.start("--bind", "127.0.0.2")
    assert f"http://127.0.0.2:{pool.port}" in pool.output
    agent = Path(f"/proc/{pool.only('-m agent')}/environ").read_text()
    assert f"MUSTER_SERVER=http://127.0.0.2:{pool.port}" in agent
    assert "DATABASE_URL" not in agent
    url = (pool.home / "valkey" / "url").read_text().strip()
    for there in (url, url.replace("127.0.0.1", "127.0.0.2")):
        check_redis(there)
        with pytest.raises(PoolError, match="refuses us"):  # also on loopback
            check_redis("redis://" + there.rpartition("@")[2])


def test_a_home_with_a_long_path_has_its_socket_elsewhere_as_long_as_it_runs(tmp_path: Path) -> None:
    server = postgresql(tmp_path / ("long" * 30))
    assert server.outside is not None
    assert quote(str(server.outside), safe="") in server.url
    assert stat.S_IMODE(server.outside.stat().st_mode) == 0o700
    server.tidy()
    assert not server.outside.exists()


def test_two_homes_on_one_host_have_each_a_worker_of_its_name(pool: WholePool, tmp_path: Path) -> None:
    here = {"MUSTER_HOST_ID": f"host of {tmp_path}", "MUSTER_NAME": "studio"}
    pool.environment |= here
    pool.start()
    other = WholePool(tmp_path / "other", environment=here)
    try:
        other.start()
        assert [each["name"] for each in other.healthy_workers()] == ["studio-1"]
        assert [each["name"] for each in pool.healthy_workers()] == ["studio-1"]
    finally:
        other.stop()


def test_a_gpu_that_another_pool_has_is_said_at_once(pool: WholePool, tmp_path: Path) -> None:
    driver = Driver(tmp_path / "driver")
    driver.say(Card("GPU-1", "RTX 4090"))
    here = {"MUSTER_HOST_ID": f"host of {tmp_path}", **driver.environ}
    pool.environment |= here
    pool.start()
    other = WholePool(tmp_path / "other", environment=here)
    try:
        other.start(ready=False)
        eventually(lambda: "Muster runs without agent-1" in other.output, 20)
        told = other.output.rpartition("Muster runs without agent-1")[2]
        assert "another agent of this identity" in told and "give this one other GPUs" in told
        assert other.client.get("/admin/workers")["items"] == []
        pool.end()
        eventually(other.healthy_workers, 40)  # it has been tried again
    finally:
        other.stop()
