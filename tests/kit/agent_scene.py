"""Real agent processes on a real Redis, with the test in the server's and coordinator's place."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from agent.join.lock import path_of
from agent.processes import carried_by, kill_all
from app.coordinator.attempts.envelopes import Envelopes
from app.pool import keys
from app.pool.agent_http import Admission, Offer
from app.pool.codec import from_json, from_plain, plain, to_json
from app.pool.log.portion import PortionHead, numbered
from app.pool.model import JobId, WorkerId, new_id
from app.pool.protocol import Beat, Lease, LeaseState, Order, Report, Wanted
from tests.kit.processes import of_job, parent
from tests.kit.services import eventually

JOIN_TOKEN = "let-me-in"
LOGS = "/agent/v1/logs/"
DEADLINE_S = 60.0  # for a busy host; every wait ends with its event
STEPS = ("quick", "marks", "shot", "stubborn", "polite", "saver", "silent", "tags")
WORKFLOWS = "".join(
    f'[workflows.{name}]\nrunner = "python"\ntarget = "tests.kit.steps:{name}"\n'
    f'[workflows.{name}.parameters.mark]\n[workflows.{name}.parameters.seed]\ntype = "int"\n'
    for name in STEPS
)
ROOT = Path(__file__).resolve().parents[2]


class AgentScene:
    """One worker's pool. `answers` holds what confirmations are answered, else they are accepted."""

    def __init__(self, redis_url: str, rq_url: str, folder: Path, interval_ms: int = 2000) -> None:
        self.redis_url, self.folder = redis_url, folder
        self.redis = Redis.from_url(redis_url, decode_responses=True)
        self.keys = keys.Keys("pool:")
        self.worker = WorkerId(new_id())
        self.host_id = f"host-of-{self.worker}"
        self.incarnation = 0
        self.wanted = Wanted(1, "active", 0, interval_ms, 1, 0, 600)
        self.offers: list[Offer] = []
        self.tokens: list[str] = []  # as presented with each offer
        self.good_tokens = {JOIN_TOKEN}
        self.refusals: dict[str, list[tuple[int, dict[str, Any]]]] = {"join": [], "confirm": [], "logs": []}
        self.portions: dict[tuple[str, int], dict[int, tuple[PortionHead, bytes]]] = {}
        self.posts = 0  # of portions, refused ones too
        self.reports: list[Report] = []
        self.accepting = True  # claims are answered
        self.agents: list[subprocess.Popen[str]] = []
        self._rq_url, self._rq = rq_url, Redis.from_url(rq_url)
        self._queue = Queue(keys.queue(self.worker), connection=self._rq, serializer=JSONSerializer)
        self._done = threading.Event()
        self._reader = threading.Thread(target=self._coordinate, daemon=True)
        self.server = _Server(self)
        self._http = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> AgentScene:
        self.redis.set(self.keys.generation, "one")
        self.write_wanted(self.wanted)
        self._reader.start()
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self.agents:
            agent.kill()
            agent.communicate()
        left = kill_all(self.processes)
        digest = hashlib.sha256(f"{self.host_id}\nw1\n{self.server.url}".encode()).hexdigest()
        path_of(digest).unlink(missing_ok=True)
        self._done.set()
        self._reader.join()
        self.server.shutdown()
        self.server.server_close()
        self._http.join()
        self.redis.close()
        self._rq.close()
        assert not left, "processes that cannot be killed"

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Start an agent."""
        file = self.folder / "workflows.toml"
        file.write_text(WORKFLOWS)
        named = {
            "MUSTER_SERVER": self.server.url,
            "MUSTER_JOIN_TOKEN": JOIN_TOKEN,
            "MUSTER_AGENT_HOME": str(self.folder / "home"),
            "MUSTER_OUTPUT": str(self.folder / "output"),
            "MUSTER_WORKFLOWS": str(file),
            "MUSTER_HOST_ID": self.host_id,
            "MUSTER_NAME": "w1",
            "MUSTER_GPUS": "",
            "MUSTER_GRACE_S": "5",
        }
        agent = subprocess.Popen(
            [sys.executable, "-m", "agent"],
            env={**os.environ, **named, **environment},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.agents.append(agent)
        return agent

    def working(self, **environment: str) -> subprocess.Popen[str]:
        """An agent that has joined and waits for work."""
        before = self.incarnation
        agent = self.start(**environment)
        eventually(lambda: self.incarnation > before and (beat := self.beat()) and beat.free_slots, DEADLINE_S)
        return agent

    def beat(self) -> Beat | None:
        """The present incarnation's beat."""
        text = self.redis.get(self.keys.beat(self.worker))
        beat = from_json(Beat, text) if text else None
        return beat if beat and beat.incarnation == self.incarnation else None

    def listed(self) -> set[tuple[JobId, int]]:
        """The attempts that the beat lists."""
        beat = self.beat()
        return {(ref.job, ref.attempt) for ref in beat.attempts} if beat else set()

    def write_wanted(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.redis.hset(self.keys.worker(self.worker), "wanted", to_json(wanted))

    def put(self, workflow: str, attempt: int = 1, job: JobId | None = None, **more: Any) -> JobId:
        """Dispatch an attempt."""
        job = job or JobId(new_id())
        order = Order(job, attempt, self.worker, self.incarnation, workflow, more.pop("params", {}), **more)
        self.lease(job, Lease(attempt=attempt, state=LeaseState.GIVEN), ring=False)
        self.send(order)
        return job

    def send(self, order: Order) -> None:
        """Put its envelope, as dispatch does."""
        Envelopes(self._rq).put([order])

    def queued(self) -> int:
        """How many envelopes wait."""
        return len(self._queue)

    def popped(self) -> int:
        """How many envelopes a slot has popped and not begun."""
        return int(self._rq.llen(self._queue.intermediate_queue_key))

    def lease(self, job: JobId, lease: Lease, ring: bool = True) -> None:
        """Write it, and ring."""
        self.redis.hset(self.keys.lease(self.worker), job, to_json(lease))
        if ring:
            self.ring()

    def revoke(self, job: JobId, why: str, grace_s: float = 0.0, attempt: int = 1) -> None:
        self.lease(job, Lease(attempt=attempt, state=LeaseState.REVOKED, why=why, grace_s=grace_s))

    def ring(self) -> int:
        """Who heard it."""
        heard: int = self.redis.publish(self.keys.bell_of(self.worker), "look")
        return heard

    def look_twice(self) -> None:
        """Ring until a beat that began afterwards has got through: the first may have been under way."""
        for _ in range(2):
            before = self.beat()
            assert before is not None
            self.ring()
            eventually(lambda seq=before.seq: (beat := self.beat()) and beat.seq > seq, DEADLINE_S)  # type: ignore[misc]

    def running(self, workflow: str, **more: Any) -> JobId:
        """A job whose workflow has said its first progress."""
        job = self.put(workflow, **more)
        self.until("progress", job, DEADLINE_S)
        return job

    def of(self, kind: str, job: JobId | None = None, attempt: int = 1) -> list[Report]:
        """The reports of this kind."""
        mine = [each for each in self.reports if each.kind == kind]
        return [each for each in mine if job is None or (each.job, each.attempt) == (job, attempt)]

    def until(self, kind: str, job: JobId | None = None, seconds: float = 20, attempt: int = 1) -> Report:
        """The first report of this kind."""
        return eventually(lambda: self.of(kind, job, attempt), seconds)[0]

    def log(self, job: JobId, attempt: int = 1) -> list[str]:
        """The lines of an attempt's log that the server has."""
        stored = self.portions.get((job, attempt), {})
        return [line.text for _, (_, data) in sorted(stored.items()) for _, line in numbered(data) if not line.redraw]

    def log_closed(self, job: JobId, attempt: int = 1) -> bool:
        """True when the server has the end of a log."""
        return any(head.closed for head, _ in self.portions.get((job, attempt), {}).values())

    def processes(self, job: JobId | None = None) -> set[int]:
        """What carries this worker, or one job of it."""
        mine = carried_by(worker=self.worker)
        return mine & of_job(job) if job else mine

    def guard_of(self, job: JobId) -> int:
        """The pid of the guard: the parent of the workflow's process."""
        return parent(min(self.processes(job)))

    def _coordinate(self) -> None:
        """Read reports as they come, and answer claims and ends by the lease."""
        with Redis.from_url(self.redis_url, decode_responses=True) as redis:
            while not self._done.is_set():
                out = self.keys.out(self.worker)
                for entry, fields in redis.xrange(out, "-", "+") if self.accepting else ():
                    report = from_json(Report, fields["report"])
                    self.reports.append(report)
                    self._answer(report)
                    redis.xdel(out, entry)
                time.sleep(0.01)  # polled: a scripted coordinator needs no keyspace events

    def _answer(self, report: Report) -> None:
        if report.kind == "claim":
            lease = self._lease(report)
            if lease and (lease.attempt, lease.state) == (report.attempt, LeaseState.GIVEN):
                self.lease(
                    report.job or JobId(""), Lease(attempt=report.attempt, state=LeaseState.CLAIMED, nonce=report.nonce)
                )
        elif report.kind == "end" and (lease := self._lease(report)) and lease.state is not LeaseState.REVOKED:
            self.lease(report.job or JobId(""), Lease(attempt=report.attempt, state=LeaseState.ENDED))

    def _lease(self, report: Report) -> Lease | None:
        text = self.redis.hget(self.keys.lease(self.worker), report.job or "")
        return from_json(Lease, text) if text else None


class _Server(ThreadingHTTPServer):
    """The join over HTTP, as the contract between agent and web says it."""

    daemon_threads = True

    def __init__(self, pool: AgentScene) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pool = pool
        self.admission: Admission | None = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def join(self, token: str, offer: Offer) -> tuple[int, Any]:
        self.pool.offers.append(offer)
        self.pool.tokens.append(token)
        if token not in self.pool.good_tokens:
            return 401, {"title": "Unauthorized", "detail": "this token is not known"}
        proof = self.pool.folder / "output" / offer.proof_file
        assert proof.read_text() == offer.proof_text
        self.admission = Admission(
            join=new_id(),
            worker=self.pool.worker,
            incarnation=self.pool.incarnation + 1,
            nonce=new_id(),
            answer=new_id(),
            token=f"own-{new_id()}",
            redis_url=self.pool.redis_url,
            rq_redis_url=self.pool._rq_url,
            prefix="pool:",
            wanted=self.pool.wanted,
        )
        return 201, plain(self.admission)

    def portion(self, token: str, path: str, data: bytes) -> tuple[int, Any]:
        self.pool.posts += 1
        if token not in self.pool.good_tokens - {JOIN_TOKEN}:
            return 401, {"title": "Unauthorized"}
        where, _, query = path.removeprefix(LOGS).partition("?")
        job, attempt, number = where.split("/")
        head = from_plain(PortionHead, {"number": int(number), **{k: json.loads(v) for k, v in parse_qsl(query)}})
        self.pool.portions.setdefault((job, int(attempt)), {}).setdefault(int(number), (head, data))
        return 204, None

    def confirm(self, token: str) -> tuple[int, Any]:
        admission = self.admission
        assert admission is not None and token == admission.token
        assert self.pool.redis.get(self.pool.keys.join(admission.nonce)) == admission.answer
        self.pool.good_tokens.add(admission.token)
        self.pool.incarnation = admission.incarnation
        return 200, {"checks": [], "wanted": plain(self.pool.wanted)}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        token = self.headers["Authorization"].removeprefix("Bearer ")
        kind = "logs" if self.path.startswith(LOGS) else self.path.rpartition("/")[2]
        if self.server.pool.refusals[kind]:
            status, answer = self.server.pool.refusals[kind].pop(0)
            if kind == "confirm":
                self.server.pool.tokens.append(token)
        elif self.path.startswith(LOGS):
            status, answer = self.server.portion(token, self.path, body)
        elif kind == "join":
            status, answer = self.server.join(token, from_json(Offer, body))
        else:
            status, answer = self.server.confirm(token)
        self.send_response(status)
        self.end_headers()
        if status == 204:
            return
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def ended(agent: subprocess.Popen[str], seconds: float = 20) -> tuple[int, str]:
    """Its exit code and what it said."""
    _, said = agent.communicate(timeout=seconds)
    return agent.returncode, said
