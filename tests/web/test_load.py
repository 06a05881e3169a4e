"""The load that people see is the one that placement goes by; its parts and figures, now and before."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

from app.coordinator.control_loop import ControlLoop
from app.coordinator.fleet import Fleet
from app.coordinator.hints import Hint
from app.coordinator.placement.index import Index
from app.coordinator.placement.place import Run
from app.coordinator.stores import Stores
from app.ledger.registry import samples
from app.pool.model import Requirement
from app.pool.protocol import GpuFigures, Memory
from tests.kit.waiting_jobs import waiting
from tests.kit.web import HTML, Facts, Web, signed_in, wrong

CARD = {"uuid": "GPU-1", "index": 0, "model": "RTX 4090", "vram_mb": 24_000}
MEASURED = GpuFigures("GPU-1", 0, "RTX 4090", 24_000, 0.5, Memory(0, 5_952, 18_048), 60, 200.0)


@pytest.fixture
def leader(web: Web) -> tuple[Fleet, Index]:
    stores = Stores(web.ledger, web.services.redis, None, web.services.keys)
    fleet = Fleet(stores)
    return fleet, Index(stores, fleet)


def look(web: Web, leader: tuple[Fleet, Index]) -> None:
    """What the leader's loop does with fresh beats."""
    fleet, index = leader
    fleet.reload()
    for beat in web.services.live.look(list(fleet.workers)).beats.values():
        fleet.heard(beat)
    index.rebuild(whole=False)


def two_workers(web: Web) -> tuple[Facts, Facts]:
    """One that measures its card and one of the same model that cannot."""
    first = web.join(web.offer("render-1", gpus=[CARD], slots=2, machine_id="a"))
    second = web.join(web.offer("render-2", gpus=[{**CARD, "uuid": "GPU-2"}], machine_id="b"))
    web.beat(first, gpus=(MEASURED,))
    web.beat(second, gpus=(GpuFigures("GPU-2", 0),))
    return first, second


def test_the_score_that_is_shown_is_redis_own_and_the_sum_of_the_parts(web: Web, leader: tuple[Fleet, Index]) -> None:
    first, second = two_workers(web)
    look(web, leader)
    wish = Requirement("burn", min_vram_mb=6_000)
    leader[1].place([Run(wish, [waiting("j" * 12)])])
    for admission in (first, second):
        shown = web.get(f"/admin/workers/{admission['worker']}")
        assert shown["score"] == web.services.redis.zscore("pool:load", admission["worker"])
        parts = {**shown["load"], **shown["load"]["means"]}
        total = 0.4 * parts["utilisation"] + 0.4 * parts["queue"] + 0.2 * parts["vram"]
        assert shown["score"] == pytest.approx(total, abs=0.001)
        now = web.get(f"/admin/workers/{admission['worker']}/metrics")["now"]
        assert (now["score"], now["load"]) == (shown["score"], shown["load"])


def test_a_part_that_was_not_measured_says_so_and_what_it_counts_as(web: Web, leader: tuple[Fleet, Index]) -> None:
    first, second = two_workers(web)
    look(web, leader)
    assert web.get(f"/admin/workers/{first['worker']}")["load"] == {
        "utilisation": 0.5,
        "queue": 0.0,
        "vram": pytest.approx(0.25, abs=0.01),
        "means": {},
    }
    assert web.get(f"/admin/workers/{second['worker']}")["load"] == {
        "utilisation": None,
        "queue": 0.0,
        "vram": None,
        "means": {"utilisation": 0.5, "vram": pytest.approx(0.25, abs=0.02)},
    }
    text = web.ask("GET", "/metrics", web.admin).text
    for worker, count in ((first, 3), (second, 1)):
        found = [line for line in text.splitlines() if "load_part" in line and f'worker="{worker["worker"]}"' in line]
        assert len(found) == count, text


def test_the_page_shows_the_load_that_placement_goes_by_and_what_nobody_could_measure(
    web: Web, leader: tuple[Fleet, Index]
) -> None:
    first, second = two_workers(web)
    look(web, leader)
    leader[1].place([Run(Requirement("burn", min_vram_mb=6_000), [waiting("j" * 12)])])
    client = signed_in(web, web.admin)
    pages = [client.get(f"/workers/{each['worker']}", headers=HTML).text for each in (first, second)]
    for admission, page in zip((first, second), pages, strict=True):
        score = web.services.redis.zscore("pool:load", admission["worker"])
        assert score is not None and figures(page)["Load"] == f"{round(100 * score)} %"
    assert figures(pages[0])["Utilisation"] == "50 %"
    assert "not measured" not in pages[0]
    unknown = figures(pages[1])
    assert unknown["Utilisation"] == "not measured, counts as 50 %, the mean of workers like it"
    assert re.fullmatch(r"not measured, counts as \d+ %, the mean of workers like it", unknown["Memory"])


def figures(page: str) -> dict[str, str]:
    """What the worker's page says of now, without its markup."""
    found = re.findall("<div><dt>([^<]+)</dt><dd>(.*?)</dd></div>", page)
    return {name: re.sub("<[^>]+>", "", told) for name, told in found}


def test_metrics_have_every_figure_by_uuid(web: Web, leader: tuple[Fleet, Index]) -> None:
    first, _ = two_workers(web)
    look(web, leader)
    card = web.get(f"/admin/workers/{first['worker']}/metrics")["now"]["gpus"]["GPU-1"]
    assert (card["utilisation"], card["temperature_c"], card["power_w"]) == (0.5, 60, 200)
    assert card["memory"] == {"ours": 0, "others": 5_952, "free": 18_048}


def test_the_series_is_of_means_over_the_steps_asked_for(web: Web) -> None:
    first, _ = two_workers(web)
    samples.make_partitions(web.ledger, 1)
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = today + timedelta(days=1)  # no sample is taken there meanwhile
    for minute in range(20):
        _sample(web, first["worker"], begin + timedelta(minutes=minute), minute / 20)
    _sample(web, first["worker"], begin + timedelta(minutes=20), None)
    path = f"/admin/workers/{first['worker']}/metrics"
    query = f"?from={_text(begin)}&to={_text(begin + timedelta(hours=1))}"
    fine = web.get(path + query)
    assert (fine["step"], len(fine["series"]), fine["series"][3]["score"]) == (60, 21, 0.15)
    coarse = web.get(path + query + "&step=600")
    assert [point["at"] for point in coarse["series"]] == [_text(begin + timedelta(minutes=m)) for m in (0, 10, 20)]
    assert coarse["series"][1]["score"] == pytest.approx(0.725)
    assert coarse["series"][1]["queue"] == pytest.approx(0.725)
    assert coarse["series"][1]["gpus"]["GPU-1"]["memory"] == {"ours": None, "others": 725, "free": None}
    assert (coarse["series"][2]["score"], coarse["series"][2]["gpus"]["GPU-1"]["utilisation"]) == (None, None)
    assert not web.get(path + f"?from={_text(begin + timedelta(hours=2))}&to={_text(begin)}")["series"]


def test_the_leader_s_notes_are_the_series(web: Web) -> None:
    first, second = two_workers(web)
    with redis.Redis.from_url(web.services.settings.rq_redis_url) as rq:
        stores = Stores(web.ledger, web.services.redis, rq, web.services.keys)
        ControlLoop(stores).step(Hint(everything=True))
    point = web.get(f"/admin/workers/{first['worker']}/metrics")["series"][-1]
    shown = web.get(f"/admin/workers/{first['worker']}")
    assert (point["score"], point["vram"]) == pytest.approx((shown["score"], shown["load"]["vram"]))
    assert web.get(f"/admin/workers/{second['worker']}/metrics")["series"][-1]["vram"] is None


def test_a_long_time_is_answered_in_larger_steps(web: Web) -> None:
    first, _ = two_workers(web)
    path = f"/admin/workers/{first['worker']}/metrics"
    assert web.get(path + "?from=2030-01-01T00:00:00Z&to=2030-01-31T00:00:00Z")["step"] == 1_800
    assert web.get(path + "?from=0001-01-01T00:00:00Z&to=0001-01-01T00:30:00Z")["series"] == []
    assert web.get(path + "?to=0001-01-01T00:30:00Z")["series"] == []


def test_a_step_that_no_sample_has_is_refused(web: Web) -> None:
    first, _ = two_workers(web)
    answered = web.ask("GET", f"/admin/workers/{first['worker']}/metrics?step=5", web.admin)
    assert "60" in wrong(answered)["/step"]
    assert web.ask("GET", f"/admin/workers/{'0' * 12}/metrics", web.admin).status_code == 404


def _sample(web: Web, worker: str, at: datetime, share: float | None) -> None:
    gpu: dict[str, Any] = {"uuid": "GPU-1", "utilisation": share, "memory": {"others": share and 1_000 * share}}
    load = {"utilisation": share, "queue": share, "vram": None}
    facts = {"worker": worker, "load": share, "utilisation": share, "vram_used": None, "temperature_c": None}
    rest = {"power_w": None, "attempts": 0, "figures": {"gpus": [gpu], "load": load}}
    samples.keep(web.ledger, [{**facts, **rest}])
    with web.ledger.transaction() as tx:
        assert tx._connection is not None
        tx._connection.execute(
            "UPDATE worker_samples SET at = %s WHERE worker_id = %s AND at = date_trunc('minute', now())", (at, worker)
        )


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
