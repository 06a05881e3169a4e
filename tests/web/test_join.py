"""Joining over HTTP: nothing is registered before all checks pass, and each that fails names itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.ledger import events
from app.ledger.registry import workers
from app.pool.model import Health, WorkerId
from app.up.processes import free_port
from tests.kit.web import Facts, Web


def failed(answered: TestResponse) -> str:
    """The one check that failed, with a next step."""
    assert answered.status_code == 409, answered.text
    [check] = [check for check in answered.get_json(force=True)["checks"] if not check["ok"]]
    assert check["detail"]
    assert check["next_step"]
    return str(check["name"])


@contextmanager
def listening(who: Facts) -> Iterator[int]:
    """A listening agent that says it is `who`; gives its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(who).encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_confirmed_join_is_a_healthy_worker_with_its_history(web: Web) -> None:
    admission = web.join(web.offer(slots=2))
    worker = workers.find(web.ledger, WorkerId(admission["worker"]))
    assert worker is not None
    assert (worker.name, worker.slots, worker.incarnation, worker.health) == ("render-1", 2, 1, Health.HEALTHY)
    [transition] = workers.transitions(web.ledger, worker.id)
    assert (transition.from_health, transition.to_health) == (None, Health.HEALTHY)
    assert [event.kind for event in events.listed(web.ledger, worker=worker.id)] == ["worker.joined"]


def test_nothing_is_registered_before_the_confirmation(web: Web) -> None:
    admission = web.begin()
    assert web.get("/admin/workers")["items"] == []
    assert web.ask("POST", "/agent/v1/join", admission["token"], json=web.offer()).status_code == 401


def test_confirming_twice_is_harmless(web: Web) -> None:
    admission = web.join()
    assert web.confirm(admission).get_json()["wanted"]["intent"] == "active"
    assert len(web.get("/admin/workers")["items"]) == 1


def test_only_the_admission_s_token_confirms(web: Web) -> None:
    admission = web.begin()
    assert web.confirm({**admission, "token": web.admin}).status_code == 401
    assert web.confirm({**admission, "join": "0" * 12}).status_code == 404


def test_without_its_answer_in_redis_a_join_is_refused(web: Web) -> None:
    admission = web.begin(answers=False)
    assert failed(web.confirm(admission)) == "redis"
    web.services.redis.set(f"pool:join:{admission['nonce']}", "a guess")
    assert failed(web.confirm(admission)) == "redis"
    assert web.get("/admin/workers")["items"] == []


@pytest.mark.parametrize(
    "proof", [{"proof_file": ".join-2"}, {"proof_text": "elsewhere"}, {"proof_file": "../secret"}, {"proof_file": ""}]
)
def test_without_a_shared_folder_a_join_is_refused(web: Web, proof: Facts) -> None:
    (web.services.settings.home / "secret").write_text("here")
    assert failed(web.confirm(web.begin(web.offer(**proof)))) == "output"


def test_a_proof_that_is_a_link_is_refused(web: Web) -> None:
    offered = web.offer(proof_file=".join-link")
    (web.services.settings.output_folder / ".join-link").symlink_to(".join-1")
    assert failed(web.confirm(web.begin(offered))) == "output"


def test_an_announced_address_that_nobody_answers_is_refused(web: Web) -> None:
    offered = web.offer(address="127.0.0.1", port=free_port())
    assert failed(web.confirm(web.begin(offered))) == "callback"


def test_the_agent_that_is_called_back_must_be_the_one_that_joins(web: Web) -> None:
    who: Facts = {"boot_id": "b", "hostname": "h", "name": "other", "version": "1"}
    with listening(who) as port:
        admission = web.begin(web.offer(address="127.0.0.1", port=port))
        who |= {"worker": "0" * 12, "incarnation": 1}
        assert failed(web.confirm(admission)) == "callback"
        who |= {"worker": admission["worker"]}
        assert web.confirm(admission).status_code == 200


def test_a_second_host_with_the_same_machine_id_waits_while_the_first_listens(web: Web) -> None:
    first = web.join()
    with web.services.redis.pubsub() as bell:
        bell.subscribe(f"pool:bell:{first['worker']}")
        bell.get_message(timeout=5)
        second = web.begin()
        answered = web.confirm(second)
        assert (answered.status_code, answered.get_json()["retry_after_s"]) == (202, 0.5)
        assert workers.find(web.ledger, first["worker"]).incarnation == first["incarnation"]  # type: ignore[union-attr]
        _began_long_ago(web, second)
        assert failed(web.confirm(second)) == "alone"


@pytest.mark.parametrize(
    ("health", "beats", "status"),
    [
        (Health.DEGRADED, False, 200),
        (Health.DOWN, False, 200),
        (Health.DEGRADED, True, 202),
        (Health.HEALTHY, False, 202),
    ],
)
def test_who_listens_without_a_beat_and_is_doubted_is_frozen_and_keeps_nobody_out(
    web: Web, health: Health, beats: bool, status: int
) -> None:
    first = web.join()
    worker = workers.find(web.ledger, first["worker"])
    assert worker
    workers.set_health(web.ledger, worker, health, "silent", str(health))
    if beats:
        web.beat(first)
        web.services.redis.pexpire(f"pool:beat:{first['worker']}", 10_000)  # as if it had beaten 25 s ago
    with web.services.redis.pubsub() as bell:
        bell.subscribe(f"pool:bell:{first['worker']}")
        bell.get_message(timeout=5)
        assert web.confirm(web.begin()).status_code == status


def test_a_second_host_with_the_same_machine_id_waits_while_the_first_beats(web: Web) -> None:
    first = web.join()
    second = web.begin()
    web.beat(first)
    assert web.confirm(second).status_code == 202


def test_a_quick_restart_is_not_held_up_by_the_dead_one_s_last_beat(web: Web) -> None:
    first = web.join()
    web.beat(first)
    web.services.redis.pexpire(f"pool:beat:{first['worker']}", 30_000)  # as if it had beaten 5 s ago
    second = web.join(token=first["token"])
    assert (second["worker"], second["incarnation"]) == (first["worker"], 2)


def test_a_new_incarnation_ends_the_older_tokens_and_older_joins(web: Web) -> None:
    first = web.join()
    older, newer = web.begin(token=first["token"]), web.begin(token=first["token"])
    assert web.confirm(newer).status_code == 200
    assert web.ask("POST", "/agent/v1/join", first["token"], json=web.offer()).status_code == 401
    answered = web.confirm(older)
    assert answered.status_code == 409
    assert "newer agent" in answered.get_json(force=True)["detail"]


def test_the_same_identity_is_the_same_worker_also_with_a_join_token(web: Web) -> None:
    first = web.join()
    assert web.join(web.offer(hostname="renamed"))["worker"] == first["worker"]
    assert web.join(web.offer("render-2"))["worker"] != first["worker"]


def test_a_worker_s_token_is_not_another_worker_s(web: Web) -> None:
    first = web.join()
    web.join(web.offer("render-2"))
    assert web.ask("POST", "/agent/v1/join", first["token"], json=web.offer("render-2")).status_code == 403


def test_a_join_token_is_spent_by_the_confirmation_alone(web: Web) -> None:
    once = web.token("join", "root", uses=1)
    assert web.confirm(web.begin(token=once, answers=False)).status_code == 409
    one, two = web.begin(web.offer("one"), once), web.begin(web.offer("two"), once)
    assert [web.confirm(one).status_code, web.confirm(two).status_code] == [200, 403]
    assert [worker["name"] for worker in web.get("/admin/workers")["items"]] == ["one"]


def test_an_offer_s_unknown_fields_are_ignored_and_its_bad_ones_named(web: Web) -> None:
    token = web.token("join", "root")
    web.begin(web.offer(weather="fine"), token)
    offered = web.offer(slots=0, port=70_000, name="")
    answered = web.ask("POST", "/agent/v1/join", token, json=offered)
    assert answered.status_code == 422
    pointers = {each["pointer"] for each in answered.get_json(force=True)["errors"]}
    assert pointers == {"/slots", "/port", "/name", "/hostname"}
    assert web.ask("POST", "/agent/v1/join", token, json={"name": "x"}).status_code == 422


def test_agents_that_declare_a_workflow_differently_are_told(web: Web) -> None:
    web.join(web.offer("one", workflows=[{"name": "burn", "runner": "python"}]))
    answered = web.confirm(web.begin(web.offer("two", workflows=[{"name": "burn", "runner": "command"}])))
    [told] = [check for check in answered.get_json()["checks"] if check["name"] == "workflows"]
    assert told["ok"]
    assert "burn" in told["detail"]
    [burn] = web.get("/workflows")["items"]
    assert {way["runner"] for way in burn["declarations"]} == {"python", "command"}


def _began_long_ago(web: Web, admission: Facts) -> None:
    with web.ledger.transaction() as tx, tx._cursor() as cursor:
        cursor.execute("UPDATE joins SET created_at = created_at - interval '31 s' WHERE id = %s", [admission["join"]])
