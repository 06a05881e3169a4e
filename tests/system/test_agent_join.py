"""How an agent comes into its pool, and what it says when it does not."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.join import identity
from agent.join.lock import HostLock, path_of
from app.pool.errors import PoolError
from app.pool.model import new_id
from app.pool.settings import AgentSettings
from tests.kit.agent_scene import JOIN_TOKEN, AgentScene, ended

STEP = "do this next"


@pytest.fixture
def pool(redis_url: str, rq_url: str, tmp_path: Path) -> Iterator[AgentScene]:
    with AgentScene(redis_url, rq_url, tmp_path) as pool:
        yield pool


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_an_agent_joins_listens_and_keeps_its_membership_to_itself(pool: AgentScene) -> None:
    agent = pool.working()
    assert pool.offers[0].pid == agent.pid and pool.offers[0].slots == 1
    assert {each.name for each in pool.offers[0].workflows} >= {"quick", "polite"}
    assert pool.ring() == 1
    kept = pool.folder / "home" / "membership.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["worker"] == pool.worker
    assert not list((pool.folder / "output").glob(".join-*"))


def test_who_calls_its_address_hears_which_incarnation_answers(pool: AgentScene) -> None:
    pool.working(MUSTER_ADDRESS="127.0.0.1")
    assert pool.offers[0].address == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{pool.offers[0].port}/", timeout=5) as answer:
        who = json.load(answer)
    assert (who["worker"], who["incarnation"], who["name"]) == (pool.worker, 1, "w1")


def test_a_second_life_is_the_same_worker_by_its_own_token(pool: AgentScene) -> None:
    agent = pool.working()
    agent.terminate()
    assert ended(agent)[0] == 0
    pool.good_tokens.discard(JOIN_TOKEN)
    pool.working()
    assert pool.incarnation == 2
    assert pool.offers[-1].worker == pool.worker and pool.tokens[-1].startswith("own-")


def test_an_own_token_that_was_revoked_gives_way_to_the_join_token(pool: AgentScene) -> None:
    agent = pool.working()
    agent.kill()
    ended(agent)
    pool.good_tokens = {JOIN_TOKEN}
    pool.working()
    assert pool.tokens[-1] == JOIN_TOKEN and pool.offers[-1].worker is None


@pytest.mark.parametrize("name", ["redis", "output", "callback", "alone"])
def test_a_failed_check_is_named_with_the_next_step(pool: AgentScene, name: str) -> None:
    checks = [{"name": "first", "ok": True}, {"name": name, "ok": False, "detail": "it is so", "next_step": STEP}]
    pool.refusals["confirm"].append((409, {"title": "Conflict", "detail": "refused", "checks": checks}))
    code, said = ended(pool.start())
    (line,) = [each for each in said.splitlines() if each]
    assert code == 1 and f"'{name}': it is so; {STEP}" in line
    assert pool.beat() is None


@pytest.mark.parametrize(
    ("environment", "check"),
    [
        ({"MUSTER_JOIN_TOKEN": "unknown"}, "token"),
        ({"MUSTER_JOIN_TOKEN": ""}, "token"),
        ({"MUSTER_OUTPUT": "/dev/null/output"}, "output"),
    ],
)
def test_what_the_agent_itself_finds_wrong_is_named_too(
    pool: AgentScene, environment: dict[str, str], check: str
) -> None:
    code, said = ended(pool.start(**environment))
    assert code == 1 and f"check '{check}'" in said and "Traceback" not in said


def test_a_redis_that_cannot_be_reached_is_named(pool: AgentScene) -> None:
    pool.redis_url = f"redis://127.0.0.1:{free_port()}/1"
    code, said = ended(pool.start())
    assert code == 1 and "check 'redis'" in said


def test_a_refused_field_is_named(pool: AgentScene) -> None:
    errors = [{"pointer": "/name", "detail": "is taken"}]
    pool.refusals["join"].append((422, {"title": "Unprocessable", "detail": "not so", "errors": errors}))
    code, said = ended(pool.start())
    assert code == 1 and "/name: is taken" in said


def test_a_confirmation_is_asked_for_again_while_the_last_incarnation_seems_to_live(pool: AgentScene) -> None:
    pool.refusals["confirm"] += [(202, {"checks": [], "retry_after_s": 0.1})] * 3
    pool.working()
    assert not pool.refusals["confirm"]


def test_a_server_that_cannot_answer_now_is_asked_again(pool: AgentScene) -> None:
    busy: list[tuple[int, dict[str, Any]]] = [(503, {}), (429, {}), (502, {})]
    pool.refusals["join"] += busy
    pool.working()
    assert not pool.refusals["join"]


def test_an_agent_that_waits_for_its_server_leaves_when_asked(pool: AgentScene) -> None:
    agent = pool.start(MUSTER_SERVER=f"http://127.0.0.1:{free_port()}")
    assert agent.stderr and "does not answer" in agent.stderr.readline()
    agent.terminate()
    assert ended(agent, 5)[0] == 0


def test_a_second_agent_of_one_identity_ends_and_the_first_lives_on(pool: AgentScene) -> None:
    pool.working()
    code, said = ended(pool.start(MUSTER_AGENT_HOME=str(pool.folder / "other")))
    assert code == 1 and "another agent of this identity" in said
    assert len(pool.offers) == 1 and pool.ring() == 1


def test_an_address_that_is_not_this_hosts_is_named(pool: AgentScene) -> None:
    code, said = ended(pool.start(MUSTER_ADDRESS="192.0.2.1"))
    assert code == 1 and "MUSTER_ADDRESS" in said


def test_a_host_without_a_machine_id_keeps_a_made_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MACHINE_ID", tmp_path / "none")
    settings = AgentSettings.from_environment({"MUSTER_AGENT_HOME": str(tmp_path / "home"), "MUSTER_NAME": "w1"})
    first, second = identity.identify(settings, ()), identity.identify(settings, ())
    assert first == second and len(first.machine_id) == 32


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[]", b'{"worker": "w1"}'])
def test_a_membership_that_cannot_be_read_is_none_and_the_log_names_its_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    none = identity.PoolMembership()
    assert identity.load_membership(tmp_path) == none and not caplog.text
    (tmp_path / "membership.json").write_bytes(text)
    assert identity.load_membership(tmp_path) == none
    assert f"path={tmp_path / 'membership.json'}" in caplog.text


def test_a_lock_is_held_until_the_last_process_that_inherited_it_is_gone() -> None:
    digest = new_id() * 3
    first = HostLock.open(digest)
    first.wait_for_the_last(0)
    with subprocess.Popen(["sleep", "60"], pass_fds=[first.fd]) as child:
        os.close(first.fd)
        second = HostLock.open(digest)
        with pytest.raises(PoolError):
            second.wait_for_the_last(0.1)
        child.kill()
        second.wait_for_the_last(5)
    os.close(second.fd)
    path_of(digest).unlink()
