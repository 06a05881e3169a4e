"""The command line against a real web process: what it sends, what it prints, how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.__main__ import main
from app.ledger import holds, jobs, tokens, waiting
from app.ledger.db import Ledger
from app.ledger.registry import joins
from app.pool.agent_http import Offer
from app.pool.backoff import Backoff
from app.pool.model import FileFact, Job, JobId, Parameter, Worker, Workflow
from app.up.processes import free_port
from tests.kit.actors import found, join, know, offer, running, tell
from tests.kit.logs import write_log, write_many
from tests.kit.services import eventually

Environment = dict[str, str]
SUBTITLES = FileFact("clip.srt", 0, "0" * 64)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    ledger = Ledger.connect(database_url)
    know(ledger, "burn", "comfyui")
    yield ledger
    ledger.close()


@pytest.fixture
def server(ledger: Ledger, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A web process; its home has its address and an admin's token, as `up` leaves them."""
    port = free_port()
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "MUSTER_HOME": str(tmp_path)}
    (tmp_path / "server").write_text(f"http://127.0.0.1:{port}\n")
    (tmp_path / "admin-token").write_text(tokens.create(ledger, "admin", "root")[1])
    command = [sys.executable, "-m", "app", "web", "--port", str(port)]
    with (tmp_path / "web.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **stores}, stdout=log, stderr=log)
    try:
        eventually(lambda: _listens(port), 20)
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def home(server: subprocess.Popen[bytes], tmp_path: Path) -> Environment:
    """The environment of a person on the host of this server."""
    return {"MUSTER_HOME": str(tmp_path), "MUSTER_SERVER": "", "MUSTER_TOKEN": ""}


def call(home: Environment, *words: str) -> Result:
    return CliRunner().invoke(main, words, env=home, prog_name="muster")


def said(home: Environment, *words: str) -> str:
    """What a command prints that succeeds."""
    result = call(home, *words)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def shown(home: Environment, *words: str) -> Any:
    return json.loads(said(home, *words, "--json"))


def test_a_hold_is_listed_and_lifted_by_commands(
    home: Environment, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "RETRY", Backoff(3600.0, 3600.0))  # on a busy host the real one may be over
    worker = join(ledger)
    tell(ledger, worker, running(ledger, worker), 1, "end", end="failed", then="hold", because="no licence")
    assert re.fullmatch("burn is on hold since .*: no licence; one job tries again at .*", said(home, "holds"))
    assert said(home, "lift", "burn") == "burn is not on hold any more"
    assert said(home, "holds") == ""
    again = call(home, "lift", "burn")
    assert (again.exit_code, "burn is not on hold" in again.output) == (1, True)


def test_a_job_s_life_by_commands(home: Environment, ledger: Ledger) -> None:
    job = said(home, "submit", "burn", "--tag", "gpu", "--tag", "fast", "--priority", "70", "--strict")
    facts = shown(home, "job", job)
    assert (facts["requires"], facts["priority"], facts["strict"]) == (["gpu", "fast"], 70, True)
    wishes = ("--prefer", "model:sdxl", "--prefer", "nvme=0.5", "--gpus", "2")
    facts = shown(home, "job", said(home, "submit", "burn", *wishes))
    assert (facts["prefers"], facts["gpus"]) == ({"model:sdxl": 1, "nvme": 0.5}, 2)
    assert job in said(home, "jobs", "--state", "pending")
    assert [each["id"] for each in shown(home, "jobs", "--workflow", "burn")] == [facts["id"], job]
    assert shown(home, "jobs", "--workflow", "transcode") == []
    assert "no worker has joined the pool yet" in said(home, "job", job)
    assert shown(home, "job", job)["why"]["summary"] == "no worker has joined the pool yet"
    assert said(home, "cancel", job) == "cancelled"
    again = said(home, "retry", job)
    assert shown(home, "job", again)["retry_of"] == job


def test_parameters_take_the_types_that_the_workflow_declares(
    home: Environment, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = (("input", "file"), ("height", "int"), ("use", "float"), ("two_pass", "bool"), ("title", "string"))
    _declare(ledger, tuple(Parameter(name, kind) for name, kind in declared))  # type: ignore[arg-type]
    (tmp_path / "clip.mp4").touch()
    monkeypatch.chdir(tmp_path)
    words = ("input=clip.mp4", "height=240", "use=0.5", "two_pass=yes", "title=240")
    job = said(home, "submit", "burn", *(each for word in words for each in ("--param", word)))
    assert shown(home, "job", job)["params"] == {
        "input": str(tmp_path / "clip.mp4"),
        "height": 240,
        "use": 0.5,
        "two_pass": True,
        "title": "240",
    }
    refused = call(home, "submit", "burn", "--param", "height=tall")
    assert (refused.exit_code, refused.stderr.strip()) == (1, "Error: --param height=tall: must be a whole number")


def test_undeclared_parameters_are_files_json_or_text(
    home: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip.mp4").touch()
    monkeypatch.chdir(tmp_path)
    words = ("-p", "a=clip.mp4", "-p", "b=3", "-p", "c=three", "-p", "d=x=y")
    params = shown(home, "job", said(home, "submit", "comfyui", *words))["params"]
    assert params == {"a": str(tmp_path / "clip.mp4"), "b": 3, "c": "three", "d": "x=y"}


def test_waiting_for_a_job_that_succeeds_ends_with_0_and_its_outputs(home: Environment, ledger: Ledger) -> None:
    with _waiting(home) as waiting:
        worker, job = join(ledger), _first(ledger)
        running(ledger, worker, job)
        tell(ledger, worker, job, 1, "progress", number=1, fraction=0.5, text="half")
        tell(ledger, worker, job, 1, "end", end="succeeded", files=(SUBTITLES, FileFact("clip.mp4", 1, "0" * 64)))
        result = waiting.result(20)
    assert result.exit_code == 0
    assert "warning: its output clip.srt is empty" in result.stderr
    assert result.stdout.strip().endswith(f"/output/{job.id}/a1/clip.mp4")


def test_waiting_for_a_job_that_fails_ends_with_1_and_its_error(home: Environment, ledger: Ledger) -> None:
    with _waiting(home) as waiting:
        worker, job = join(ledger), _first(ledger)
        for attempt in (1, 2, 3):
            running(ledger, worker, found(ledger, job))
            tell(ledger, worker, job, attempt, "end", end="failed", error="no such frame", cause="workflow")
        result = waiting.result(20)
    assert (result.exit_code, "failed: no such frame" in result.stderr) == (1, True)


def test_waiting_for_a_cancelled_job_ends_with_2(home: Environment, ledger: Ledger) -> None:
    with _waiting(home) as waiting:
        jobs.cancel(ledger, _first(ledger).id)
        assert waiting.result(20).exit_code == 2


def test_a_followed_log_goes_on_over_attempts_until_the_end(home: Environment, ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)
    write_log(ledger, job, ["one"])
    assert said(home, "logs", job.id) == "one"
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(said, home, "logs", job.id, "-f")
        tell(ledger, worker, job, 1, "end", end="stopped")
        again = running(ledger, worker, found(ledger, job))
        write_log(ledger, again, ["two", "three"], closed=True)
        tell(ledger, worker, again, 2, "end", end="succeeded")
        lines = following.result(20).splitlines()
    assert lines in (["one", "-- attempt 2", "two", "three"], ["two", "three"])
    assert said(home, "logs", job.id, "--attempt", "1") == "one"


def test_workers_and_tokens_are_listed(home: Environment, ledger: Ledger) -> None:
    join(ledger)
    assert "render-1" in said(home, "workers")
    assert shown(home, "workers")[0]["workflows"] == ["burn"]
    secret = said(home, "token", "create", "--kind", "creator", "--owner", "ann")
    [made] = [each for each in shown(home, "token", "list") if each["owner"] == "ann"]
    assert call({**home, "MUSTER_TOKEN": secret}, "jobs").exit_code == 0
    assert said(home, "token", "revoke", made["id"]) == "revoked"
    assert call({**home, "MUSTER_TOKEN": secret}, "jobs").exit_code == 1


def test_workers_are_tagged_paused_and_resumed_by_name(home: Environment, ledger: Ledger) -> None:
    one, two = join(ledger, "render-1"), join(ledger, "render-2")
    assert said(home, "tag", "optix,cuda-12", "render-1", two.id).splitlines() == [
        "render-1: tags + cuda-12, optix",
        "render-2: tags + cuda-12, optix",
    ]
    assert "cuda-12" in said(home, "workers")
    assert said(home, "untag", "optix", "render-2") == "render-2: tags − optix"
    assert said(home, "pause", "render-1", "--for-s", "60", "--note", "fans").startswith("render-1: paused until 20")
    assert [w["paused_note"] for w in shown(home, "workers")] == ["fans", None]
    assert said(home, "resume", one.id) == "render-1: takes jobs again"
    refused = call(home, "resume", "render-1", "render-2")
    assert (refused.exit_code, refused.stderr.splitlines()[0]) == (1, "render-1: is active, not paused")
    assert "no worker nobody" in call(home, "pause", "render-1", "nobody").stderr
    assert all(worker["intent"] == "active" for worker in shown(home, "workers"))


def test_a_name_that_several_workers_have_is_refused_with_their_ids(home: Environment, ledger: Ledger) -> None:
    ids = {confirmed(ledger, replace(offer("gpu-host"), machine_id=machine)).id for machine in ("m1", "m2")}
    refused = call(home, "pause", "gpu-host")
    assert refused.exit_code == 1 and "2 workers are named gpu-host" in refused.stderr
    assert all(worker in refused.stderr for worker in ids)
    assert all(worker["intent"] == "active" for worker in shown(home, "workers"))
    assert said(home, "pause", min(ids)).startswith("gpu-host: paused")


def test_workers_are_listed_to_the_last_page(
    home: Environment, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.client.PAGE", 2)
    joined = [join(ledger, f"render-{number}-{'x' * 90}") for number in range(5)]
    assert [worker["name"] for worker in shown(home, "workers")] == [worker.name for worker in joined]
    lines = said(home, "workers").splitlines()  # a line for each, whatever the terminal's width: a program reads it
    assert [line.split()[0] for line in lines] == ["id", *(worker.id for worker in joined)]


def test_people_s_words_are_listed_as_they_are(home: Environment) -> None:
    said(home, "submit", "burn", "--name", "[/red] [bold]x")
    assert "[/red] [bold]x" in said(home, "jobs")


def test_what_goes_wrong_is_one_clear_error(home: Environment) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert "no server answers" in call({**home, "MUSTER_SERVER": nowhere}, "jobs").stderr
    assert "set MUSTER_TOKEN" in call({**home, "MUSTER_TOKEN": "guess"}, "jobs").stderr
    assert "/priority" in call(home, "submit", "burn", "--priority", "101").stderr
    assert "write it as name=value" in call(home, "submit", "burn", "--param", "seconds").stderr
    assert "write it as a tag" in call(home, "submit", "burn", "--prefer", "nvme=much").stderr
    assert call(home, "job", "0" * 12).exit_code == 1
    assert "http://" in call({**home, "MUSTER_SERVER": "muster"}, "jobs").stderr


def test_the_local_admin_s_token_goes_to_the_local_server_only(home: Environment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as pool:
        address = f"http://127.0.0.1:{other.getsockname()[1]}"
        asking = pool.submit(call, {**home, "MUSTER_SERVER": address}, "jobs")
        connection, _ = other.accept()
        with connection:
            request = connection.recv(65536)
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert asking.result(20).exit_code == 1
    assert b"mst_" not in request


def test_a_job_says_why_its_present_attempt_went_where_it_did(home: Environment, ledger: Ledger) -> None:
    won, second = join(ledger, "won"), join(ledger, "second")
    place = {"score": 0.12, "queued": False}
    record = {"strategy": "least-loaded", "load": 0.1, "parts": {"queue": {"share": 0.25, "measured": True}}, **place}
    record = {**record, "runners_up": [{"worker": second.id, **place, "score": 0.3}]}
    job = said(home, "submit", "burn")
    waiting.assign(ledger, [waiting.Assignment(JobId(job), 1, won.id, 1, placement=record)])
    told = said(home, "job", job)
    assert "placed  by least-loaded: score 0.12; load 0.1 (queue 25 %)" in told
    assert "then  second (score 0.3)" in told
    assert shown(home, "job", job)["why"]["placements"][0]["worker_name"] == "won"


@pytest.mark.parametrize("command", ["submit", "batch"])
def test_a_submission_whose_answer_is_lost_is_asked_for_again_and_done_once(
    home: Environment, tmp_path: Path, command: str
) -> None:
    (tmp_path / "jobs").write_text('{"workflow": "burn"}')
    words = {"submit": ("submit", "burn"), "batch": ("batch", str(tmp_path / "jobs"))}[command]
    token = (tmp_path / "admin-token").read_text()
    with _losing((tmp_path / "server").read_text().strip()) as way:
        submitted = said({**home, "MUSTER_SERVER": way, "MUSTER_TOKEN": token}, *words)
    assert [job["id"] for job in shown(home, "jobs")] == [submitted]


def test_an_answer_that_does_not_come_whole_is_one_clear_error(home: Environment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as pool:
        address = f"http://127.0.0.1:{other.getsockname()[1]}"
        asking = pool.submit(call, {**home, "MUSTER_SERVER": address}, "jobs")
        connection, _ = other.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        result = asking.result(20)
    assert (result.exit_code, "no server answers" in result.stderr) == (1, True)


def test_every_command_explains_itself() -> None:
    for name in ("", *main.commands, "token create", "token list", "token revoke"):
        result = CliRunner().invoke(main, [*name.split(), "--help"])
        assert result.exit_code == 0
        assert "Usage" in result.output


def test_a_web_process_ends_within_3_s_and_logs_neither_queries_nor_looks(
    home: Environment, server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    port = int((tmp_path / "server").read_text().rpartition(":")[2])
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as idle:  # it stays open
        assert _status(idle, "/healthz?token=secret") == 200
        assert _status(idle, "/nowhere?token=secret") == 404
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0  # gunicorn's own patience is 30 s
    log = (tmp_path / "web.log").read_text()
    assert re.search(r"GET /nowhere 404", log)
    assert "/healthz" not in log
    assert "secret" not in log


def _status(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _losing(server: str) -> Iterator[str]:
    """The address of a way to this server on which the answer to the first POST gets lost."""
    lost: list[bool] = []

    class Way(BaseHTTPRequestHandler):
        def _carry(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            asked = urllib.request.Request(server + self.path, body, dict(self.headers), method=self.command)
            with urllib.request.urlopen(asked) as answer:
                if body and not lost:
                    lost.append(True)
                    return
                self.send_response(answer.status)
                self.end_headers()
                self.wfile.write(answer.read())

        do_GET = do_POST = _carry  # noqa: N815

    with HTTPServer(("127.0.0.1", 0), Way) as way, ThreadPoolExecutor(1) as pool:
        pool.submit(way.serve_forever, 0.05)
        try:
            yield f"http://127.0.0.1:{way.server_port}"
        finally:
            way.shutdown()
    assert lost


@contextmanager
def _waiting(home: Environment) -> Iterator[Future[Result]]:
    """Somebody who submits a job and waits for it."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call, home, "submit", "burn", "--wait")


def _first(ledger: Ledger) -> Job:
    return eventually(lambda: jobs.listed(ledger))[0]


def _declare(ledger: Ledger, parameters: tuple[Parameter, ...]) -> None:
    """A worker joins that declares burn with these parameters."""
    confirmed(ledger, replace(offer(), workflows=(Workflow("burn", "python", parameters=parameters),)))


def confirmed(ledger: Ledger, offered: Offer) -> Worker:
    """A worker that has joined with this offer."""
    worker = joins.confirm(ledger, joins.begin(ledger, None, offered, tokens.digest(tokens.new_secret("agent"))))
    assert worker
    return worker


def test_a_file_of_jobs_is_submitted_as_one(home: Environment, tmp_path: Path) -> None:
    lines, listed = tmp_path / "jobs.jsonl", tmp_path / "jobs.json"
    lines.write_text('{"workflow": "burn", "name": "one"}\n\n{"workflow": "burn", "name": "two"}\n')
    made = said(home, "batch", str(lines)).splitlines()
    assert [shown(home, "job", job)["name"] for job in made] == ["one", "two"]
    listed.write_text('[{"workflow": "burn"}, {"workflow": "burn", "priority": 101}]')
    refused = call(home, "batch", str(listed))
    assert (refused.exit_code, "/jobs/1/priority" in refused.stderr) == (1, True)
    lines.write_text("{}\n{")
    assert "line 2 cannot be read as JSON" in call(home, "batch", str(lines)).stderr
    assert len(shown(home, "jobs")) == 2


def test_a_mistake_is_told_at_once_and_taken_anyway_where_that_is_said(home: Environment, tmp_path: Path) -> None:
    refused = call(home, "submit", "brun")
    assert refused.exit_code == 1
    assert "/workflow: no worker offers 'brun' or ever has; did you mean 'burn'?" in refused.stderr
    taken = call(home, "submit", "brun", "--anyway", "--tag", "gpu")
    assert taken.exit_code == 0
    assert taken.stdout.strip() == shown(home, "jobs")[0]["id"]
    assert taken.stderr.splitlines() == [
        "warning: no worker offers 'brun' or ever has; did you mean 'burn'?",
        "warning: no worker has the tag 'gpu'",
    ]
    (tmp_path / "jobs").write_text('{"workflow": "burn"}\n{"workflow": "brun"}\n{"workflow": "brun"}')
    refused = call(home, "batch", str(tmp_path / "jobs"))
    assert (refused.exit_code, "/jobs/1/workflow: no worker offers 'brun'" in refused.stderr) == (1, True)
    taken = call(home, "batch", "--anyway", str(tmp_path / "jobs"))
    assert (taken.exit_code, len(taken.stdout.split()), len(taken.stderr.splitlines())) == (0, 3, 1)


def test_a_log_is_printed_whole_from_its_end_or_with_its_times(home: Environment, ledger: Ledger) -> None:
    job = running(ledger, join(ledger))
    write_log(ledger, job, ["\x1b[31mone\x1b[0m", ("e", "two"), ("O", "10 %"), "three"], closed=True)
    assert said(home, "logs", job.id).splitlines() == ["one", "two", "three"]
    assert said(home, "logs", job.id, "--tail", "1") == "three"
    assert said(home, "logs", job.id, "--timestamps").splitlines()[0] == "2025-11-30T10:53:21.000Z one"
    refused = call(home, "logs", job.id, "--attempt", "2")
    assert (refused.exit_code, "the newest is 1" in refused.stderr) == (1, True)
    assert "nor all" in call(home, "logs", job.id, "--attempt", "0").stderr


def test_all_attempts_are_printed_and_the_newest_alone_says_so(home: Environment, ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)
    write_log(ledger, job, ["one"])
    tell(ledger, worker, job, 1, "end", end="stopped")
    write_log(ledger, running(ledger, worker, found(ledger, job)), ["two"])
    newest = call(home, "logs", job.id)
    assert (newest.stdout, "--attempt all" in newest.stderr) == ("two\n", True)
    assert said(home, "logs", job.id, "--attempt", "all").splitlines() == ["-- attempt 1", "one", "-- attempt 2", "two"]
    last = said(home, "logs", job.id, "--attempt", "all", "--tail", "2").splitlines()
    assert last == ["-- attempt 1", "one", "-- attempt 2", "two"]


def test_a_followed_log_waits_for_a_server_that_restarts_and_for_the_end_of_the_log(
    home: Environment, ledger: Ledger, tmp_path: Path
) -> None:
    worker = join(ledger)
    job = running(ledger, worker)
    write_log(ledger, job, ["one"])
    token, out = (tmp_path / "admin-token").read_text(), tmp_path / "out"
    with _failing((tmp_path / "server").read_text().strip()) as (way, fail), out.open("wb") as printed:
        environ = {**os.environ, **home, "MUSTER_SERVER": way, "MUSTER_TOKEN": token}
        command = [sys.executable, "-m", "app", "logs", job.id, "-f"]
        with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=printed, stderr=subprocess.PIPE) as following:
            eventually(lambda: out.read_text() == "one\n", 30)
            fail(True)
            assert following.stderr and b"waiting for it" in following.stderr.readline()
            write_log(ledger, job, ["two"])
            tell(ledger, worker, job, 1, "end", end="succeeded")
            fail(False)
            eventually(lambda: out.read_text() == "one\ntwo\n", 30)
            write_log(ledger, job, ["three"], worker.id, closed=True)  # later than the end of its attempt
            assert following.wait(30) == 0
    assert out.read_text() == "one\ntwo\nthree\n"


def test_a_reader_that_closes_the_pipe_gets_no_traceback(home: Environment, ledger: Ledger) -> None:
    job = running(ledger, join(ledger))
    write_many(ledger, job, 20_000)
    command = f"{sys.executable} -m app logs {job.id} | head -n 2"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env={**os.environ, **home}, capture_output=True, text=True, check=True
    )
    assert (ended.stdout.splitlines(), ended.stderr) == (["line 1 of the log", "line 2 of the log"], "")


@contextmanager
def _failing(server: str) -> Iterator[tuple[str, Callable[[bool], None]]]:
    """The address of a way to this server, and what makes the way fail or work again."""
    broken: list[bool] = [False]

    class Way(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if broken[0]:
                return  # the connection is closed without an answer
            asked = urllib.request.Request(server + self.path, headers=dict(self.headers))
            with urllib.request.urlopen(asked) as answer:
                self.send_response(answer.status)
                self.end_headers()
                self.wfile.write(answer.read())

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Way) as way, ThreadPoolExecutor(1) as pool:
        pool.submit(way.serve_forever, 0.05)
        try:
            yield f"http://127.0.0.1:{way.server_port}", lambda fails: broken.__setitem__(0, fails)
        finally:
            way.shutdown()
