"""The uploader: whose portions go first, what stays while the server is away, and what goes when the spool is full."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.log import spool
from agent.log.posting import POST_ERRORS, Posting
from agent.log.spool import Portion, attempt_folder
from agent.log.uploader import Uploader
from app.pool.log.portion import PortionHead
from app.pool.model import JobId
from tests.kit.services import eventually

A, B = JobId("aaaaaaaaaaaa"), JobId("bbbbbbbbbbbb")
DATA = b"x" * 1000


class Way:
    """A way to a server that answers with `status`, or is away; it remembers what got through."""

    def __init__(self) -> None:
        self.status: int | None = 204
        self.sent: list[tuple[JobId, int]] = []
        self.tries = 0

    def post(self, portion: Portion, packed: bytes) -> int:
        self.tries += 1
        if self.status is None:
            raise ConnectionRefusedError("away")
        if self.status < 300:
            assert packed == DATA
            self.sent.append((portion.job, portion.head.number))
        return self.status


@pytest.fixture
def way() -> Way:
    return Way()


@pytest.fixture
def uploader(tmp_path: Path, way: Way) -> Uploader:
    return Uploader(tmp_path, way, 10 * len(DATA))


def written(folder: Path, job: JobId, number: int) -> Portion:
    """A portion in the spool."""
    head = PortionHead(number, number, 1, 10 * (number - 1), 10)
    spool.write(attempt_folder(folder, job, 1), head, DATA)
    return Portion(job, 1, head, len(DATA))


def left(folder: Path, job: JobId) -> list[int]:
    return [portion.head.number for portion in spool.portions(folder, job, 1)]


def steps(uploader: Uploader, count: int) -> None:
    """Some steps, as if no back-off were under way."""
    for _ in range(count):
        uploader._again_at = 0.0
        uploader.step()


def test_attempts_take_turns_and_each_ones_oldest_goes_first(tmp_path: Path, uploader: Uploader, way: Way) -> None:
    for number in (1, 2, 3):
        uploader.put(written(tmp_path, A, number))
    uploader.put(written(tmp_path, B, 1))
    steps(uploader, 4)
    assert way.sent == [(A, 1), (B, 1), (A, 2), (A, 3)]
    assert left(tmp_path, A) == left(tmp_path, B) == []


def test_what_an_earlier_life_has_left_is_sent_and_its_folder_goes(tmp_path: Path, way: Way) -> None:
    for number in (1, 2):
        written(tmp_path, A, number)
    (attempt_folder(tmp_path, A, 1) / "3.draft").touch()
    uploader = Uploader(tmp_path, way, 10**6)
    uploader.find_leftovers()
    steps(uploader, 3)
    assert way.sent == [(A, 1), (A, 2)]
    assert list(tmp_path.iterdir()) == []


def test_of_an_attempt_that_is_over_what_nobody_told_of_is_found(
    tmp_path: Path, uploader: Uploader, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    uploader.put(written(tmp_path, A, 1))
    written(tmp_path, A, 2)  # its guard died before it could tell
    uploader.over(A, 1)
    steps(uploader, 3)
    assert way.sent == [(A, 1), (A, 2)]
    assert not attempt_folder(tmp_path, A, 1).exists()
    assert not caplog.records  # what main had told of was not tried twice


def test_an_attempt_that_is_over_when_all_is_sent_leaves_no_folder(
    tmp_path: Path, uploader: Uploader, way: Way
) -> None:
    uploader.put(written(tmp_path, A, 1))
    steps(uploader, 1)
    assert attempt_folder(tmp_path, A, 1).exists()
    uploader.over(A, 1)
    steps(uploader, 1)
    assert not attempt_folder(tmp_path, A, 1).exists()


@pytest.mark.parametrize("status", [None, 500, 503, 429, 401, 403, 302])
def test_while_the_server_does_not_take_them_all_portions_wait(
    tmp_path: Path, uploader: Uploader, way: Way, status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    way.status = status
    uploader.put(written(tmp_path, A, 1))
    uploader.put(written(tmp_path, B, 1))
    with caplog.at_level(logging.INFO):
        steps(uploader, 6)
        assert (way.tries, left(tmp_path, A), left(tmp_path, B)) == (6, [1], [1])
        uploader._again_at = 1e18
        uploader.step()
        assert way.tries == 6  # it is not asked without a pause
        way.status = 204
        steps(uploader, 2)
    assert sorted(way.sent) == [(A, 1), (B, 1)]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]  # said once, and once that it is over


@pytest.mark.parametrize("status", [404, 410, 413, 422])
def test_what_the_server_will_never_take_is_dropped_and_said_once_for_each_attempt(
    tmp_path: Path, uploader: Uploader, way: Way, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    way.status = status
    for number in (1, 2, 3):
        uploader.put(written(tmp_path, A, number))
    steps(uploader, 3)
    assert left(tmp_path, A) == []
    [record] = caplog.records
    assert f"job={A} attempt=1 portion=1: the server answers {status}" in record.message


def test_a_full_spool_loses_the_middle_of_the_longest_log_and_says_so_once(
    tmp_path: Path, uploader: Uploader, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    way.status = None
    uploader.put(written(tmp_path, B, 1))
    for number in range(1, 31):
        uploader.put(written(tmp_path, A, number))
        uploader.step()
    kept = left(tmp_path, A)
    assert left(tmp_path, B) == [1]
    assert len(kept) == 9 and kept[:4] == [1, 2, 3, 4] and kept[-4:] == [27, 28, 29, 30]
    assert len([record for record in caplog.records if "spool is full" in record.message]) == 1


def test_of_two_portions_that_are_too_much_the_last_one_is_kept(tmp_path: Path, way: Way) -> None:
    way.status = None
    uploader = Uploader(tmp_path, way, len(DATA))
    for number in range(1, 6):
        uploader.put(written(tmp_path, A, number))
        uploader.step()
        assert left(tmp_path, A) == [number]


def test_a_portion_that_cannot_be_read_does_not_hold_up_the_others(
    tmp_path: Path, uploader: Uploader, way: Way
) -> None:
    lost = written(tmp_path, A, 1)
    spool.remove(tmp_path, lost)
    uploader.put(lost)
    uploader.put(written(tmp_path, A, 2))
    steps(uploader, 2)
    assert way.sent == [(A, 2)]


def test_leaving_waits_for_the_rest_and_not_for_a_server_that_is_away(
    tmp_path: Path, uploader: Uploader, way: Way
) -> None:
    thread = threading.Thread(target=uploader.run)
    thread.start()
    try:
        uploader.put(written(tmp_path, A, 1))
        assert uploader.leave(20)
        assert way.sent == [(A, 1)]
    finally:
        uploader.bell.stop()
        thread.join(5)


def test_leaving_gives_up_when_the_server_is_away(tmp_path: Path, uploader: Uploader, way: Way) -> None:
    way.status = None
    uploader.put(written(tmp_path, A, 1))
    thread = threading.Thread(target=uploader.run)
    thread.start()
    try:
        eventually(lambda: way.tries >= 2, 20)
        assert not uploader.leave(600)  # returns by the next failure
    finally:
        uploader.bell.stop()
        thread.join(5)
    assert left(tmp_path, A) == [1]


class Server(ThreadingHTTPServer):
    """A web server that notes what it gets; it closes each connection when `closes` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, str | None, bytes]] = []
        self.connections = 0
        self.silent = False  # closes a kept connection without a word at the next request


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.silent:
            self.server.silent = False
            self.close_connection = True
            return
        self.server.got.append((self.path, self.headers["Authorization"], body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_portions_are_posted_over_one_connection_with_their_place_and_our_token(server: Server, tmp_path: Path) -> None:
    posting = Posting(f"http://127.0.0.1:{server.server_address[1]}/muster", "own-token")
    for number in (1, 2):
        assert posting.post(written(tmp_path, A, number), DATA) == 204
    place = "first_line=2&lines=1&first_byte=10&bytes=10&closed=false"
    assert server.got[1] == (f"/muster/agent/v1/logs/{A}/1/2?{place}", "Bearer own-token", DATA)
    assert server.connections == 1
    server.silent = True  # a kept connection that the server has given up is not the server's end
    assert posting.post(written(tmp_path, A, 3), DATA) == 204
    assert server.connections == 2
    posting._close()


def test_a_server_that_gives_no_answer_is_told_as_an_error(server: Server, tmp_path: Path) -> None:
    posting = Posting(f"http://127.0.0.1:{server.server_address[1]}", "own-token")
    server.silent = True
    with pytest.raises(POST_ERRORS) as error:
        posting.post(written(tmp_path, A, 1), DATA)
    assert isinstance(error.value, http.client.RemoteDisconnected)
