"""Workers over HTTP: what the ledger holds, with what is live."""

from __future__ import annotations

import pytest

from app.ledger import blocks, policy
from app.ledger.registry import workers
from app.pool.codec import to_json
from app.pool.model import Health, WorkerId
from app.pool.protocol import GpuFigures, Lease, LeaseState, Memory
from tests.kit.actors import join as join_worker
from tests.kit.actors import running, tell
from tests.kit.web import HTML, Facts, Web, signed_in, wrong

FIELDS = (
    "id name hostname address port gpu_model vram_mb gpus driver workflows tags dynamic_tags groups slots status reason"
    " health intent score load jobs queued pid incarnation version last_heartbeat heartbeat_age_s uptime_s"
    " investigation blocked created_at"
)
CARD = {"uuid": "GPU-1", "index": 0, "model": "RTX 4090", "vram_mb": 24_000}


def only(web: Web) -> Facts:
    [worker] = web.get("/admin/workers")["items"]
    assert web.get(f"/admin/workers/{worker['id']}").keys() == worker.keys()
    return dict(worker)


def test_a_worker_has_every_field_and_nothing_unmeasured_is_zero(web: Web) -> None:
    web.join(web.offer(gpus=[CARD], driver="570.86.15"))
    worker = only(web)
    assert worker["driver"] == "570.86.15"
    assert set(FIELDS.split()) <= worker.keys()
    assert (worker["gpu_model"], worker["vram_mb"], worker["workflows"]) == ("RTX 4090", 24_000, ["burn"])
    assert worker["gpus"][0]["utilisation"] is None
    assert worker["load"] == {"utilisation": None, "queue": None, "vram": None, "means": {}}
    assert (worker["score"], worker["heartbeat_age_s"]) == (None, None)


def test_live_figures_come_from_the_beat_and_the_leases(web: Web) -> None:
    admission = web.join(web.offer(gpus=[CARD], slots=2))
    figures = GpuFigures("GPU-1", 0, utilisation=0.5, memory=Memory(6_000, 0, 18_000), temperature_c=60)
    web.beat(admission, gpus=(figures,), tags=("sdxl",))
    lease = to_json(Lease(attempt=1, state=LeaseState.CLAIMED))
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


def test_a_workflow_that_is_not_offered_says_why_on_the_workers_page(web: Web) -> None:
    why = "the program render.sh is not found"
    worker = web.join(web.offer(not_offered={"render": why}))["worker"]
    page = signed_in(web, web.admin).get(f"/workers/{worker}", headers=HTML).text
    assert f"<dt>Not render</dt><dd>{why}</dd>" in page


def test_a_worker_that_is_not_there_is_404(web: Web) -> None:
    assert workers.find(web.ledger, WorkerId("0" * 12)) is None
    assert web.ask("GET", f"/admin/workers/{'0' * 12}", web.admin).status_code == 404


def names(web: Web, query: str) -> list[str]:
    """Of the workers that this query finds, page by page of two."""
    found, cursor = [], ""
    while True:
        page = web.get(f"/admin/workers?limit=2&{query}{cursor}")
        assert len(page["items"]) <= 2
        found += [worker["name"] for worker in page["items"]]
        if page["next"] is None:
            return found
        assert len(page["items"]) == 2
        cursor = f"&cursor={page['next']}"


def test_workers_are_listed_page_by_page_by_name(web: Web) -> None:
    for name in ("e", "a", "d", "b", "c"):
        web.join(web.offer(name))
    assert names(web, "") == ["a", "b", "c", "d", "e"]
    assert len(web.get("/admin/workers?limit=5")["items"]) == 5
    assert web.get("/admin/workers?limit=5")["next"] is None


def test_a_worker_that_joins_between_two_pages_moves_no_other(web: Web) -> None:
    for name in ("b", "c", "d"):
        web.join(web.offer(name))
    first = web.get("/admin/workers?limit=2")
    web.join(web.offer("a"))
    second = web.get(f"/admin/workers?limit=2&cursor={first['next']}")
    assert [worker["name"] for worker in second["items"]] == ["d"]


def test_workers_are_filtered_by_the_fleet_s_words_across_pages(web: Web) -> None:
    for number in range(7):
        admission = web.join(web.offer(f"render-{number}"))
        if number % 2:
            web.beat(admission, tags=("sdxl",))
    assert names(web, "status=healthy") == ["render-1", "render-3", "render-5"]
    assert names(web, "status=!healthy") == ["render-0", "render-2", "render-4", "render-6"]
    assert names(web, "tag=sdxl&host=!render-3") == ["render-1", "render-5"]
    assert names(web, "host=RENDER-3&host=render-4") == ["render-3", "render-4"]
    assert names(web, "group=nobody") == []
    assert names(web, "investigation=open") == []


def test_more_workers_than_are_read_at_once_are_searched_to_the_end(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.api.workers.LISTED_MOST", 2)
    for number in range(5):
        admission = web.join(web.offer(f"render-{number}"))
    web.beat(admission)
    assert names(web, "status=healthy") == ["render-4"]


def test_a_filter_that_makes_no_sense_is_refused_by_name(web: Web) -> None:
    for query, field in (
        ("status=fine", "/status/0"),
        ("tag=!", "/tag/0"),
        ("investigation=shut", "/investigation/0"),
        ("limit=201", "/limit"),
        ("cursor=x", "?cursor"),
    ):
        assert field in wrong(web.ask("GET", f"/admin/workers?{query}", web.admin)), query
    told = wrong(web.ask("GET", "/admin/workers?status=!fine", web.admin))["/status/0"]
    assert told.startswith("must be one of ") and "degraded" in told and "with !" in told
