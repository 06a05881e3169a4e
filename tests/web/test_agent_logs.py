"""Agents send portions of logs over HTTP: by their own token, of their own attempts, within a size."""

from __future__ import annotations

from typing import Any

import pytest

from app.ledger.registry import workers
from app.pool.log.portion import MOST_PACKED_BYTES, pack, stamped
from app.pool.model import WorkerId
from tests.kit.actors import running
from tests.kit.web import Web

HEAD = {"first_line": 1, "lines": 1, "first_byte": 0, "bytes": 6}
BODY = pack(stamped(1_700_000_000_000, "o", b"hello\n"))


class Sender:
    """A worker that has joined over HTTP, with a job that it runs."""

    def __init__(self, web: Web) -> None:
        admission = web.join()
        self._web, self.token = web, admission["token"]
        found = workers.find(web.ledger, WorkerId(admission["worker"]))
        assert found is not None
        self.job = running(web.ledger, found).id

    def send(self, number: int = 1, body: bytes = BODY, token: str | None = None, attempt: int = 1, **head: Any) -> int:
        """The status that the server answers to a portion."""
        path = f"/agent/v1/logs/{self.job}/{attempt}/{number}"
        query = {**HEAD, **head}
        return self._web.ask("POST", path, token or self.token, data=body, query_string=query).status_code


@pytest.fixture
def sender(web: Web) -> Sender:
    return Sender(web)


def test_a_portion_is_stored_once_however_often_it_comes(web: Web, sender: Sender) -> None:
    assert [sender.send(), sender.send(closed="true")] == [204, 204]
    log = web.get(f"/jobs/{sender.job}/log")["items"]
    assert [line["line"] for line in log] == ["hello"]
    assert log[0]["at"].startswith("2023-11-14T22:13:20")


def test_only_an_agent_sends_logs_and_only_of_its_own_attempts(web: Web, sender: Sender) -> None:
    other = web.join(web.offer("render-2", machine_id="another"))
    assert sender.send(token=other["token"]) == 404
    assert sender.send(token=web.admin) == 403
    assert sender.send(attempt=2) == 404
    assert web.get(f"/jobs/{sender.job}/log")["items"] == []


@pytest.mark.parametrize(
    ("head", "status"), [({"first_line": 0}, 422), ({"lines": -1}, 422), ({"bytes": 2**60}, 422), ({"lines": "x"}, 422)]
)
def test_a_head_out_of_range_is_refused(sender: Sender, head: dict[str, Any], status: int) -> None:
    assert sender.send(**head) == status


def test_a_portion_that_is_too_large_is_refused(sender: Sender) -> None:
    assert sender.send(body=b"x" * (MOST_PACKED_BYTES + 1)) == 413
