"""The outbox: what it keeps, what it says again, and what it lets go while nobody reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
import redis

from agent.attempt.outbox import IDLE_S, MOST_WAITING, Outbox
from agent.redis_client import connect
from app.pool.codec import from_json
from app.pool.loop import Bell
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Report
from tests.kit.services import eventually

OUT = "pool:out:w"
JOB = JobId("j")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def outbox(client: redis.Redis) -> Outbox:
    return Outbox(client, OUT)


def report(kind: Literal["claim", "progress", "checkpoint", "end"], number: int = 0) -> Report:
    return Report(kind, WorkerId("w"), 1, JOB, 1, number=number)


def sent(client: redis.Redis) -> list[Report]:
    """Read the stream to its end, as the coordinator does."""
    entries: Any = client.xrange(OUT)
    if entries:
        client.xdel(OUT, *[entry for entry, _ in entries])
    return [from_json(Report, fields["report"]) for _, fields in entries]


def test_reports_go_out_in_their_order(outbox: Outbox, client: redis.Redis) -> None:
    said = [report("claim"), report("progress", 1), report("checkpoint", 1), report("end")]
    for each in said:
        outbox.put(each)
    outbox.step()
    assert sent(client) == said


def test_the_claim_the_newest_progress_and_checkpoint_and_the_end_are_said_again(
    outbox: Outbox, client: redis.Redis
) -> None:
    for each in [report("claim"), *(report("progress", n) for n in range(3)), report("checkpoint", 1)]:
        outbox.put(each)
    outbox.put(report("checkpoint", 2))
    outbox.put(report("end"))
    outbox.step()
    sent(client)
    outbox.send_again()
    outbox.step()
    again = [report("claim"), report("checkpoint", 2), report("progress", 2), report("end")]
    assert sent(client) == again


def test_each_interval_it_is_all_said_again_behind_what_is_new(outbox: Outbox, client: redis.Redis) -> None:
    outbox.put(report("claim"))
    outbox.step()
    sent(client)
    outbox.put(report("end"))
    outbox.repeat()
    outbox.step()
    assert [each.kind for each in sent(client)] == ["end", "claim", "end"]


def test_a_settled_attempt_is_not_said_again_but_its_last_words_go_out(outbox: Outbox, client: redis.Redis) -> None:
    outbox.put(report("claim"))
    outbox.put(report("end"))
    outbox.forget(JOB, 1)
    outbox.step()
    assert [each.kind for each in sent(client)] == ["claim", "end"]
    outbox.send_again()
    outbox.step()
    assert sent(client) == []


def test_while_nobody_reads_a_thousand_entries_wait_and_the_newest_state_is_among_them(
    outbox: Outbox, client: redis.Redis
) -> None:
    outbox.put(report("claim"))
    for number in range(3 * MOST_WAITING):
        outbox.put(report("progress", number))
        if number % 2 == 0:
            outbox.put(report("checkpoint", number))
        outbox.step()
        assert client.xlen(OUT) <= MOST_WAITING + 2
    found = sent(client)
    assert found[0] == report("claim")
    assert found[-1] == report("progress", 3 * MOST_WAITING - 1)
    assert max(each.number for each in found if each.kind == "checkpoint") == 3 * MOST_WAITING - 2


def test_what_is_said_while_redis_is_away_goes_out_when_it_is_back(redis_url: str, client: redis.Redis) -> None:
    away = connect(redis_url)
    outbox = Outbox(away, OUT)
    outbox.put(report("claim"))
    outbox.step()
    client.client_kill_filter(skipme=True)
    outbox.put(report("end"))
    thread = threading.Thread(target=outbox.run)
    thread.start()
    eventually(lambda: any(each.kind == "end" for each in sent(client)))
    outbox.bell.stop()
    thread.join(5)
    assert not thread.is_alive()
    away.close()


@pytest.mark.parametrize("forgotten", ["before", "after"])
def test_the_last_words_of_what_was_taken_away_meanwhile_go_out_once(
    client: redis.Redis, forgotten: Literal["before", "after"]
) -> None:
    way = Away(client)
    outbox = Outbox(way, OUT)  # type: ignore[arg-type]
    for each in (report("claim"), report("checkpoint", 3), report("end")):
        outbox.put(each)
    way.lost = lambda: outbox.forget(JOB, 1) if forgotten == "before" else None
    with pytest.raises(redis.ConnectionError):
        outbox.step()
    if forgotten == "after":
        outbox.forget(JOB, 1)
    way.lost = None
    outbox.step()
    outbox.send_again()
    outbox.step()
    assert sent(client) == [report("checkpoint", 3), report("end")]


class Away:
    """A client whose pipelines do not get through while there is something to do instead."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.lost: Callable[[], None] | None = None

    def pipeline(self, transaction: bool) -> Any:
        if self.lost is not None:
            self.lost()
            raise redis.ConnectionError("away")
        return self._client.pipeline(transaction=transaction)


def test_a_pause_is_over_when_redis_is_seen_again(client: redis.Redis) -> None:
    way = Away(client)
    outbox = Outbox(way, OUT)  # type: ignore[arg-type]
    tries: list[float] = []
    way.lost = lambda: tries.append(time.monotonic())
    outbox.put(report("claim"))
    thread = threading.Thread(target=outbox.run)
    thread.start()
    eventually(lambda: len(tries) == 6)  # the next pause is at least 2.5 s long
    way.lost = None
    outbox.send_again()
    eventually(lambda: [each.kind for each in sent(client)] == ["claim"], 1)
    outbox.bell.stop()
    thread.join(5)
    assert not thread.is_alive()


class Watched(Bell):
    """A bell that knows for how long it is being waited for."""

    seconds = 0.0

    def wait(self, seconds: float) -> bool:
        self.seconds = seconds
        return super().wait(seconds)


def test_an_outbox_rests_when_what_it_could_not_send_was_forgotten(client: redis.Redis) -> None:
    way = Away(client)
    outbox = Outbox(way, OUT)  # type: ignore[arg-type]
    outbox.bell = bell = Watched()
    tried = threading.Event()
    way.lost = tried.set
    outbox.put(report("claim"))
    thread = threading.Thread(target=outbox.run, daemon=True)
    thread.start()
    assert tried.wait(5)
    outbox.forget(JOB, 1)
    way.lost = None
    eventually(lambda: bell.seconds == IDLE_S)  # it turns no more
    bell.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_leaving_waits_until_everything_is_read(outbox: Outbox, client: redis.Redis) -> None:
    thread = threading.Thread(target=outbox.run)
    thread.start()
    outbox.put(replace(report("end"), kind="goodbye", job=None))
    assert not outbox.leave(0.3)
    sent(client)
    assert outbox.leave(5)
    outbox.bell.stop()
    thread.join(5)


def test_what_is_no_text_goes_out_all_the_same(outbox: Outbox, client: redis.Redis) -> None:
    outbox.put(replace(report("end"), end="failed", error="frame\udcff.png"))
    outbox.step()
    assert [each.error for each in sent(client)] == ["frame?.png"]
