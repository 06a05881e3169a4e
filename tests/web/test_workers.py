"""Workers over HTTP: what the ledger holds, with what is live."""

from __future__ import annotations

from app.ledger import blocks, policy, workers
from app.pool.model import Health, WorkerId
from app.pool.protocol import GpuFigures, Lease, LeaseState, Memory, to_json
from tests.postgres.conftest import join as join_worker
from tests.postgres.conftest import running, tell
from tests.web.conftest import Facts, Web
from tests.web.test_faces import HTML, signed_in

FIELDS = (
    "id name hostname address port gpu_model vram_mb gpus workflows tags dynamic_tags groups slots status reason"
    " health intent score load jobs queued pid incarnation version last_heartbeat heartbeat_age_s uptime_s"
    " investigation blocked created_at"
)
CARD = {"uuid": "GPU-1", "index": 0, "model": "RTX 4090", "vram_mb": 24_000}


def only(web: Web) -> Facts:
    [worker] = web.get("/admin/workers")["items"]
    assert web.get(f"/admin/workers/{worker['id']}").keys() == worker.keys()
    return dict(worker)


def test_a_worker_has_every_field_and_nothing_unmeasured_is_zero(web: Web) -> None:
    web.join(web.offer(gpus=[CARD]))
    worker = only(web)
    assert set(FIELDS.split()) <= worker.keys()
    assert (worker["gpu_model"], worker["vram_mb"], worker["workflows"]) == ("RTX 4090", 24_000, ["burn"])
    assert worker["gpus"][0]["utilisation"] is None
    assert worker["load"] == {"utilisation": None, "queue": None, "vram": None}
    assert (worker["score"], worker["heartbeat_age_s"]) == (None, None)


def test_live_figures_come_from_the_beat_and_the_leases(web: Web) -> None:
    admission = web.join(web.offer(gpus=[CARD], slots=2))
    figures = GpuFigures("GPU-1", 0, utilisation=0.5, memory=Memory(6_000, 0, 18_000), temperature_c=60)
    web.beat(admission, gpus=(figures,), tags=("sdxl",))
    lease = to_json(Lease(1, LeaseState.CLAIMED))
    web.services.redis.hset(f"pool:lease:{admission['worker']}", "a" * 12, lease)
    web.services.redis.zadd("pool:load", {admission["worker"]: 0.4})

    worker = only(web)
    assert (worker["status"], worker["jobs"], worker["queued"], worker["score"]) == ("healthy", 1, 0, 0.4)
    assert worker["load"] == {"utilisation": 0.5, "queue": 0.5, "vram": 0.25}
    assert worker["gpus"][0]["memory"] == {"ours": 6_000, "others": 0, "free": 18_000}
    assert worker["dynamic_tags"] == ["sdxl"]


def test_the_heartbeat_s_age_is_by_redis_clock(web: Web) -> None:
    admission = web.join()
    web.beat(admission, ttl_ms=35_000)
    web.services.redis.pexpire(f"pool:beat:{admission['worker']}", 30_000)
    assert 5 <= only(web)["heartbeat_age_s"] < 15


def test_a_worker_whose_beat_is_gone_is_not_shown_healthy(web: Web) -> None:
    web.join()
    worker = only(web)
    assert (worker["health"], worker["status"]) == ("healthy", "degraded")
    assert worker["reason"] == "its heartbeat has stopped"


def test_a_beat_of_a_former_incarnation_says_nothing(web: Web) -> None:
    admission = web.join()
    web.beat({**admission, "incarnation": 0})
    assert only(web)["heartbeat_age_s"] is None


def test_the_uptime_of_a_worker_that_is_down_stands_still(web: Web) -> None:
    worker = join_worker(web.ledger)
    workers.set_health(web.ledger, worker, Health.DOWN, "silent", "down")
    assert only(web)["uptime_s"] == only(web)["uptime_s"]


def test_a_blocked_worker_says_for_what_until_when_and_why(web: Web) -> None:
    bad, good = join_worker(web.ledger, "bad"), join_worker(web.ledger, "good")
    policy.write(web.ledger, {"block_failures": 1}, "root")
    job = running(web.ledger, bad)
    tell(web.ledger, good, running(web.ledger, good), 1, "end", end="succeeded")
    tell(web.ledger, bad, job, 1, "end", end="failed", cause="workflow")
    [block] = blocks.listed(web.ledger, bad.id)
    until = f"until {block.until:%H:%M} UTC (a failure while others succeed)"
    assert [web.get(f"/admin/workers/{each.id}")["blocked"] for each in (bad, good)] == [{"burn": until}, {}]
    page = signed_in(web, web.admin).get(f"/workers/{bad.id}", headers=HTML).text
    assert f"</span> for burn {until}." in page


def test_a_worker_that_is_not_there_is_404(web: Web) -> None:
    assert workers.find(web.ledger, WorkerId("0" * 12)) is None
    assert web.ask("GET", f"/admin/workers/{'0' * 12}", web.admin).status_code == 404
