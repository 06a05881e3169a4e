"""Hostile and corrupt envelopes in a live worker's queue: nothing of them runs, and the queue goes on."""

from __future__ import annotations

import os
import pickle
import socket
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rq import Callback, Queue
from rq.job import Job as RqJob
from rq.job import Retry
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from app.pool import keys
from app.pool.model import JobId, WorkerId, new_id
from tests.kit.services import eventually
from tests.kit.slot_scene import SlotScene

Put = Callable[[SlotScene, Path], object]


@pytest.fixture
def main(rq_url: str, tmp_path: Path) -> Iterator[SlotScene]:
    with SlotScene(rq_url, tmp_path) as main:
        main.told("ready")
        yield main


class Exploit:
    """Unpickled, it would make a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self._mark}",)


def _corrupt(field: str, value: bytes) -> Put:
    """A good envelope whose hash has this field, put into the queue only afterwards."""

    def put(main: SlotScene, mark: Path) -> None:
        made = _held_back(main, mark)
        main.redis.hset(made.key, field, value)
        main.redis.rpush(main.queue.key, made.id)

    return put


def _held_back(main: SlotScene, mark: Path) -> RqJob:
    """A good envelope's hash; its id is not in the queue."""
    order = main.order("marks", params={"mark": str(mark)})
    queue = Queue("elsewhere", connection=main.redis, serializer=JSONSerializer)
    made = main.put_into(queue, order)
    main.redis.delete(queue.key)
    main.redis.hset(made.key, "origin", main.queue.name)
    return made


def _pickled(field: str) -> Put:
    def put(main: SlotScene, mark: Path) -> None:
        made = _held_back(main, mark)
        payload = pickle.dumps((keys.FUNCTION, None, (), {"order": Exploit(mark)}))
        main.redis.hset(made.key, field, zlib.compress(payload) if field == "data" else payload)
        main.redis.rpush(main.queue.key, made.id)

    return put


def _bomb(main: SlotScene, mark: Path) -> None:
    made = _held_back(main, mark)
    main.redis.hset(made.key, "data", zlib.compress(bytes(512 * 1024 * 1024), 9))
    main.redis.rpush(main.queue.key, made.id)


def _of_another_worker(main: SlotScene, mark: Path) -> None:
    main.put(replace(main.order("marks", params={"mark": str(mark)}), worker=WorkerId(new_id())))


def _id_of_another_job(main: SlotScene, mark: Path) -> None:
    order = main.order("marks", params={"mark": str(mark)})
    main.put(order, job_id=keys.envelope_id(order.worker, JobId(new_id()), 1))


def _no_hash(main: SlotScene, mark: Path) -> None:
    made = _held_back(main, mark)
    main.redis.delete(made.key)
    main.redis.set(made.key, "a string")
    main.redis.rpush(main.queue.key, made.id)


def _with(**changes: object) -> Put:
    return lambda main, mark: main.put(main.order("marks", params={"mark": str(mark)}), **changes)


def _called(function: str, *args: object) -> Put:
    return lambda main, mark: main.put(
        main.order("marks"), f=function, kwargs={}, args=[str(each).replace("MARK", str(mark)) for each in args]
    )


FIELDS = """
created_at enqueued_at started_at ended_at last_heartbeat origin description worker_name status timeout result_ttl
failure_ttl ttl success_callback_timeout failure_callback_timeout stopped_callback_timeout dependency_ids
allow_dependency_failures enqueue_at_front number_of_retries retries_left retry_intervals repeat_intervals
rate_limit_concurrency data meta exc_info result
"""
HOSTILE: dict[str, Put] = {
    "a pickle": _pickled("data"),
    "a pickled meta": _pickled("meta"),
    "a pickled result": _pickled("result"),
    "os.system": _called("os.system", "touch MARK"),
    "another function of ours": _called("agent.processes.become_subreaper"),
    "more than an order": _with(kwargs={"order": {}, "more": 1}),
    "success callback": _with(on_success=Callback("tests.system.test_envelope.explode")),
    "failure callback": _with(on_failure=Callback("tests.system.test_envelope.explode")),
    "stopped callback": _with(on_stopped=Callback("tests.system.test_envelope.explode")),
    "retry": _with(retry=Retry(max=3)),
    "timeout": _with(job_timeout=10),
    "endless result": _with(result_ttl=-1),
    "for another worker": _of_another_worker,
    "id of another job": _id_of_another_job,
    "id that is none of ours": _with(job_id="anything"),
    "more than memory": _bomb,
    "no hash": _no_hash,
    "dependency": _corrupt("dependency_ids", b'["x"]'),
    "repeat": _corrupt("repeats_left", b"3"),
    "rate limit": _corrupt("rate_limit_key", b"x"),
    "group": _corrupt("group_id", b"x"),
    "unheard of": _corrupt("surprise", b"x"),
    **{f"corrupt {field}": _corrupt(field, b"\xff?") for field in FIELDS.split()},
}


def explode(*_: object) -> None:
    """What a forged callback names."""
    raise AssertionError("a callback ran")


def test_hostile_and_corrupt_envelopes_run_nothing_and_the_queue_goes_on(
    rq_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"
    with SlotScene(rq_url, tmp_path) as main:
        for put in HOSTILE.values():
            put(main, mark)
        good = main.order("quick")
        main.put(good)

        line = main.guard()
        assert line.job == good.job  # no guard was even forked for the others
        assert line.claimed().gone() and line.end and line.end["end"] == "succeeded"
        assert not mark.exists()
        assert main.redis.llen(f"{main.queue.key}:intermediate") == 0
    refusals = [text for text in capfd.readouterr().err.splitlines() if "envelope refused" in text]
    assert len(refusals) == len(HOSTILE)
    assert all(f"worker={main.worker}" in text and "cause=" in text for text in refusals)


def test_an_id_that_is_no_text_is_dropped(main: SlotScene) -> None:
    main.redis.rpush(main.queue.key, b"\xff\xfe")
    good = main.order("quick")
    main.put(good)
    assert main.guard().claimed().job == good.job
    assert eventually(lambda: main.redis.llen(f"{main.queue.key}:intermediate") == 0)


def test_a_forged_id_does_not_remove_another_workers_envelope(main: SlotScene) -> None:
    order = replace(main.order("quick"), worker=WorkerId(new_id()))
    theirs = main.put_into(Queue(keys.queue(order.worker), connection=main.redis, serializer=JSONSerializer), order)
    main.redis.rpush(main.queue.key, theirs.id)
    good = main.order("quick")
    main.put(good)
    assert main.guard().claimed().job == good.job
    assert main.redis.exists(theirs.key)


def test_a_webhook_is_not_called(main: SlotScene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        main.put(main.order("quick"), webhooks=[Webhook(address, "finished"), Webhook(address, "failed")])
        good = main.order("quick")
        main.put(good)
        line = main.guard().claimed()
        assert line.job == good.job and line.gone()
        main.told("ready")
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_an_envelope_of_an_older_incarnation_is_not_claimed(main: SlotScene) -> None:
    main.put(replace(main.order("quick"), incarnation=0))
    good = main.order("quick")
    main.put(good)
    assert main.guard().claimed().job == good.job
