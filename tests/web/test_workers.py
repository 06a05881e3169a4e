"""Workers over HTTP: what the ledger holds, with what is live."""

from __future__ import annotations

from app.ledger import workers
from app.pool.model import Health, WorkerId
from app.pool.protocol import GpuFigures, Lease, LeaseState, Memory, to_json
from tests.postgres.conftest import join as join_worker
from tests.web.conftest import Facts, Web

FIELDS = (
    "id name hostname address port gpu_model vram_mb gpus workflows tags dynamic_tags groups slots status reason"
    " health intent score load jobs queued pid incarnation version last_heartbeat heartbeat_age_s uptime_s"
    " investigation created_at"
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
    assert worker["load"] == {"utilisation": None, "queue": None, "vram": None, "means": {}}
    assert (worker["score"], worker["heartbeat_age_s"]) == (None, None)


def test_live_figures_come_from_the_beat_and_the_leases(web: Web) -> None:
    admission = web.join(web.offer(gpus=[CARD], slots=2))
    figures = GpuFigures("GPU-1", 0, utilisation=0.5, memory=Memory(6_000, 0, 18_000), temperature_c=60)
    web.beat(admission, gpus=(figures,), tags=("sdxl",))
    lease = to_json(Lease(1, LeaseState.CLAIMED))
    web.services.redis.hset(f"pool:lease:{admission['worker']}", "a" * 12, lease)

    worker = only(web)
    assert (worker["status"], worker["jobs"], worker["queued"]) == ("healthy", 1, 0)
    assert (worker["score"], worker["gpus"][0]["utilisation"]) == (None, 0.5)
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


def test_a_worker_that_is_not_there_is_404(web: Web) -> None:
    assert workers.find(web.ledger, WorkerId("0" * 12)) is None
    assert web.ask("GET", f"/admin/workers/{'0' * 12}", web.admin).status_code == 404
