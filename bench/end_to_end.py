"""Jobs a second from the ledger into RQ's queues: placed, assigned, leased and put, beside plain RQ's `enqueue_many`.

Both on one Valkey in one run, in turns; the ledger is a PostgreSQL as `up` starts it, with its log on disk.
The leader's own steps do it, for workers whose beats the bench writes and that take nothing. Jobs are
submitted before by POST /jobs/batch, asked of the application in this process.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import redis
from flask.testing import FlaskClient
from rq import Queue
from rq.serializers import JSONSerializer

from app.coordinator.control_loop import ControlLoop
from app.coordinator.hints import Hint
from app.coordinator.stores import Stores
from app.ledger import policy, tokens, waiting
from app.ledger.db import Ledger
from app.pool.keys import Keys
from bench.kit.figures import timed
from bench.kit.web import application
from tests.kit.peer import Peer
from tests.kit.services import Services

WORKERS = 20
AT_ONCE = 500  # jobs in one enqueue_many, and in one batch
PLAIN, PUT, WHOLE = (
    "plain RQ, enqueue_many",
    "Muster, from the ledger to the queues",
    "Muster, POST /jobs/batch included",
)
COLUMNS = ("", "jobs", "rounds", "min", "median", "max", "ratio (target: at least 0.5)")


def rows(services: Services, count: int, rounds: int) -> list[list[Any]]:
    """Jobs a second each way, and what the medians are of plain RQ's."""
    found: dict[str, list[float]] = {PLAIN: [], PUT: [], WHOLE: []}
    for _ in range(rounds):
        found[PLAIN].append(count / _plain_s(services, count))
        submit_s, put_s = _muster_s(services, count)
        found[PUT].append(count / put_s)
        found[WHOLE].append(count / (submit_s + put_s))
    base = statistics.median(found[PLAIN])
    return [
        [name, count, rounds, min(rates), statistics.median(rates), max(rates), statistics.median(rates) / base]
        for name, rates in found.items()
    ]


def _plain_s(services: Services, count: int) -> float:
    """Seconds for plain RQ's jobs, which carry what an envelope without parameters does: a name."""
    with redis.Redis.from_url(f"{services.redis('valkey')}/0") as rq:
        queue = Queue("bench-plain", connection=rq, serializer=JSONSerializer)

        def put() -> None:
            for first in range(0, count, AT_ONCE):
                names = [f"plain-{first + n}" for n in range(min(AT_ONCE, count - first))]
                queue.enqueue_many(
                    [Queue.prepare_data("bench.kit.noop.plain", args=(name,), job_id=name) for name in names]
                )

        seconds, _ = timed(put)
        assert queue.count == count
    return seconds


def _muster_s(services: Services, count: int) -> tuple[float, float]:
    url, database_url = services.redis("valkey"), services.new_database()
    with (
        tempfile.TemporaryDirectory(prefix="muster-bench-") as folder,
        application(Path(folder), database_url, url) as app,
        redis.Redis.from_url(f"{url}/1", decode_responses=True) as pool,
        redis.Redis.from_url(f"{url}/0") as rq,
        closing(Ledger.connect(database_url)) as ledger,
    ):
        stores = Stores(ledger, pool, rq, Keys("pool:"))
        policy.write(ledger, {"queue_depth": -(-count // WORKERS)}, "bench")
        for number in range(WORKERS):
            Peer(stores, ledger, f"render-{number}", interval_s=300.0).beat()
        leader = ControlLoop(stores)
        leader.step(Hint(everything=True))
        client, token = app.test_client(), tokens.create(ledger, "creator", "bench")[1]
        submit_s, _ = timed(lambda: _submit(client, token, count))
        put_s, _ = timed(lambda: _dispatch(leader, ledger))
        put = sum(Queue(key.decode().removeprefix("rq:queue:"), connection=rq).count for key in rq.keys("rq:queue:*"))
        assert put == count, f"{put} of {count} were put"
    return submit_s, put_s


def _submit(client: FlaskClient, token: str, count: int) -> None:
    for first in range(0, count, AT_ONCE):
        body = json.dumps({"jobs": [{"workflow": "burn"}] * min(AT_ONCE, count - first)})
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"batch-{first}"}
        answer = client.post("/jobs/batch", data=body, content_type="application/json", headers=headers)
        assert answer.status_code == 201, answer.text


def _dispatch(leader: ControlLoop, ledger: Ledger) -> None:
    while waiting.count(ledger):
        leader.step(Hint(jobs=True))
