"""The settings of a process, as they come from its environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from app.pool.errors import SettingsError
from app.pool.settings import SECRETS, AgentSettings, ServerSettings, redis_urls
from app.up import local_agents

SERVER = {"DATABASE_URL": "postgresql://localhost/m", "REDIS_URL": "redis://localhost:6379", "MUSTER_HOME": "/srv/m"}


def test_one_redis_server_serves_rq_and_the_pool_in_two_databases() -> None:
    assert redis_urls({"REDIS_URL": "redis://:s@r:1"}) == ("redis://:s@r:1/1", "redis://:s@r:1/0")
    assert redis_urls({"REDIS_URL": "redis://r:1/0"}) == ("redis://r:1/1", "redis://r:1/0")
    assert redis_urls({"REDIS_URL": "redis://r:1/5"}) == ("redis://r:1/5", "redis://r:1/0")


def test_two_redis_urls_are_taken_as_they_are() -> None:
    assert redis_urls({"REDIS_URL": "redis://a/3", "RQ_REDIS_URL": "redis://b/3"}) == ("redis://a/3", "redis://b/3")


def test_rq_and_the_pool_never_share_a_database() -> None:
    with pytest.raises(SettingsError, match="same database"):
        redis_urls({"REDIS_URL": "redis://a/3", "RQ_REDIS_URL": "redis://a/3"})


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_a_missing_server_setting_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        ServerSettings.from_environment({key: value for key, value in SERVER.items() if key != name})


def test_agents_are_told_the_servers_own_redis_unless_another_is_named() -> None:
    assert ServerSettings.from_environment(SERVER).agent_redis_url == "redis://localhost:6379/1"
    told = ServerSettings.from_environment({**SERVER, "MUSTER_AGENT_REDIS_URL": "redis://pool.lan/1"})
    assert (told.redis_url, told.agent_redis_url) == ("redis://localhost:6379/1", "redis://pool.lan/1")


def test_outputs_lie_in_the_home_unless_set() -> None:
    assert ServerSettings.from_environment(SERVER).output_folder == Path("/srv/m/output")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MUSTER_SLOTS", "0"),
        ("MUSTER_SLOTS", "many"),
        ("MUSTER_GRACE_S", "-1"),
        ("MUSTER_LOG_SPOOL_MIB", "0"),
        ("MUSTER_AGENT_PORT", "70000"),
        ("MUSTER_SERVER", "localhost:8046"),
        ("MUSTER_NAME", "a/b"),
        ("MUSTER_NAME", "a\nb"),
    ],
)
def test_a_wrong_agent_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        AgentSettings.from_environment({name: value})


def test_no_gpu_named_means_every_gpu_and_an_empty_list_means_none() -> None:
    assert AgentSettings.from_environment({}).gpu_uuids is None
    assert AgentSettings.from_environment({"MUSTER_GPUS": ""}).gpu_uuids == ()
    assert AgentSettings.from_environment({"MUSTER_GPUS": "GPU-a,GPU-b"}).gpu_uuids == ("GPU-a", "GPU-b")


@pytest.mark.parametrize("text", ["--5", "²", "0", "65", "9" * 5000])
def test_a_number_that_is_none_is_named_with_its_limits(text: str) -> None:
    with pytest.raises(SettingsError, match=r"MUSTER_SLOTS is .*from 1 to 64"):
        AgentSettings.from_environment({"MUSTER_SLOTS": text})


def test_agents_that_up_starts_get_their_join_token_and_no_other_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_agents, "_gpus", list)
    servers = {**dict.fromkeys(SECRETS, "hidden"), "MUSTER_SLOTS": "2"}
    [program] = local_agents.local_agents(tmp_path, None, "http://127.0.0.1:1", "127.0.0.1", "let-me-in", servers)
    environment = program.environment or {}
    assert {name: environment.get(name) for name in SECRETS & environment.keys()} == {"MUSTER_JOIN_TOKEN": "let-me-in"}
    assert environment["MUSTER_SLOTS"] == "2"


def test_gpus_that_cannot_be_listed_are_none_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert local_agents._gpus() == []
    assert "this host's could not be listed" in caplog.text and "exit status 1" in caplog.text
