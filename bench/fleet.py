"""What the fleet's page and the list of workers cost with 1,000 workers that beat: `python -m bench.fleet`.

The application over real stores, asked in its own process, one request after the other; workers and
figures are made up, a beat of each every 15 s. The fleet's stores are asked at most once in 2 s,
however many look: a page that comes later than that pays for it, and is measured as such.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flask.testing import FlaskClient

from app.ledger import sessions, tokens
from app.pool.model import Worker
from app.web.http.cache import forget_workers
from app.web.http.sessions import NAME
from app.web.pages.fleet import POLL_S
from bench.kit.figures import publish, spread, timed
from bench.kit.web import application
from tests.kit.seed import Seed
from tests.kit.services import Services

INTERVAL_S = 15.0
PAGE = {"Accept": "text/html"}
COLUMNS = ("ms", "n", "min", "p50", "p99", "max")


def measure(client: FlaskClient, admin: str, times: int) -> Iterator[list[object]]:
    """A row for each kind of request."""
    bearer = {"Authorization": f"Bearer {admin}"}
    tag = client.get("/ui/fleet").headers["ETag"]
    asked: dict[str, Callable[[], int]] = {
        "page of 100 rows, stores asked": lambda: _fresh(client, "/"),
        "its poll, stores asked": lambda: _fresh(client, "/ui/fleet"),
        "its poll, within 2 s of another": lambda: client.get("/ui/fleet", headers={"If-None-Match": tag}).status_code,
        "list, 50 workers": lambda: client.get("/admin/workers", headers=bearer).status_code,
        "list, 200 workers": lambda: client.get("/admin/workers?limit=200", headers=bearer).status_code,
        "list, of those that are degraded": lambda: (
            client.get("/admin/workers?status=degraded", headers=bearer).status_code
        ),
    }
    for name, ask in asked.items():
        yield [name, *spread([_ms(ask) for _ in range(times)]).values()]


def _fresh(client: FlaskClient, path: str) -> int:
    with client.application.app_context():
        forget_workers()
    return client.get(path).status_code


def _ms(ask: Callable[[], int]) -> float:
    seconds, status = timed(ask)
    assert status in (200, 304), status
    return 1000 * seconds


@contextmanager
def beating(seed: Seed, workers: list[Worker]) -> Iterator[None]:
    """Each of these beats once an interval, in turn."""
    over = threading.Event()

    def beat() -> None:
        for worker in itertools.cycle(workers):
            seed.beat(worker, random.random())
            if over.wait(INTERVAL_S / len(workers)):
                return

    thread = threading.Thread(target=beat, name="beating")
    for worker in workers:
        seed.beat(worker, random.random())
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def main() -> None:
    """Make the workers, ask, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--times", type=int, default=30)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-")))
        services = Services(folder)
        stack.callback(services.close)
        redis_url, database_url = services.redis("valkey"), services.new_database()
        app = stack.enter_context(application(folder, database_url, redis_url))
        seed = Seed.into(database_url, f"{redis_url}/1", "pool:", folder)
        stack.callback(seed.close)
        workers = [seed.worker(f"render-{n:04d}", tags=("high-vram", "optix")) for n in range(asked.workers)]
        for worker in workers:
            seed.samples(worker, [0.5] * 9)
        token, admin = tokens.create(seed.ledger, "admin", "admin")
        client = app.test_client()
        with client.session_transaction() as session:
            session[NAME] = sessions.begin(seed.ledger, token.id)
        stack.enter_context(beating(seed, workers))
        rows = list(measure(client, admin, asked.times))
    publish("fleet", f"The fleet of {asked.workers} workers", COLUMNS, rows, {"kept_s": POLL_S})


if __name__ == "__main__":
    main()
