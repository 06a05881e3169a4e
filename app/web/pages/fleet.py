"""The fleet: tiles, filter and table of all workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from app.ledger import groups, holds, waiting
from app.ledger.holds import Hold
from app.ledger.registry import samples, workers
from app.ledger.registry.samples import MinuteSample
from app.pool.model import WorkerId
from app.pool.status import WorkerStatus
from app.web.http import cache, htmx
from app.web.http.auth import READERS, caller
from app.web.http.cache import Recent
from app.web.http.fleet_filter import PAGE_ROWS, Chip, Filter
from app.web.http.services import services
from app.web.pages import fleet_rows
from app.web.pages.base import page
from app.web.pages.fleet_rows import SPARK_S, FleetRows, WorkerRow
from app.web.pages.worker_form import Written

blueprint = Blueprint("fleet", __name__)
SAMPLES = "muster.fleet.samples"
POLL_S = 2.0  # as often as a page polls: however many people look, the stores are asked once
SAMPLES_S = 10.0  # there is a new sample each minute
BUSY_PERCENT = 10  # a card that only shows a desktop has less
STATUSES = (WorkerStatus.HEALTHY, WorkerStatus.DEGRADED, WorkerStatus.DOWN)

Samples = Mapping[WorkerId, Sequence[MinuteSample]]


@dataclass(frozen=True)
class Tile:
    """A count whose link sets the filter; `of` is the number of all that were counted."""

    name: str
    count: int
    of: int | None
    url: str
    tone: str


@dataclass(frozen=True)
class FleetPage:
    """A page of the fleet."""

    tiles: tuple[Tile, ...]
    chips: tuple[Chip, ...]
    rows: tuple[WorkerRow, ...]
    matching: int
    total: int
    query: str
    page: int
    before: str | None
    after: str | None
    warning: str | None
    holds: tuple[Hold, ...]
    server: str  # the address that an agent joins at
    reader: str
    acts: bool  # the reader may tick workers and act on them


@blueprint.get("/")
@page()
def fleet() -> ResponseReturnValue:
    """The fleet's page; a creator's first page is their jobs."""
    if caller().role not in READERS:
        return redirect("/jobs", 303)
    return whole(Filter.of(request.args))


@blueprint.get("/ui/fleet")
@page(*READERS)
def fragment() -> ResponseReturnValue:
    """The part of the fleet's page that changes."""
    return htmx.fragment("fleet/_fleet.html", shown(_fleet(), Filter.of(request.args)))


def whole(asked: Filter, written: Written | None = None, wrong: str | None = None) -> str:
    """The page; `written` is what somebody sent from it, `wrong` says why nothing was done."""
    pool = _fleet()
    return render_template(
        "fleet/fleet.html",
        view=shown(pool, asked),
        words=_proposed(pool),
        asked=asked,
        written=written,
        wrong=wrong,
    )


def shown(pool: FleetRows, asked: Filter) -> FleetPage:
    """The page of the fleet that this filter asks for."""
    matching = [row for row in pool.rows if asked.matches(row)]
    pages = max(1, -(-len(matching) // PAGE_ROWS))
    number = min(asked.page, pages)
    return FleetPage(
        tiles=_tiles(pool),
        chips=asked.chips(),
        rows=tuple(matching[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]),
        matching=len(matching),
        total=len(pool.rows),
        query=asked.url(number),
        page=number,
        before=f"/{asked.url(number - 1)}" if number > 1 else None,
        after=f"/{asked.url(number + 1)}" if number < pages else None,
        warning=pool.warning,
        holds=pool.holds,
        server=request.host_url.rstrip("/"),
        reader=caller().name,
        acts=caller().role == "admin",
    )


def _fleet() -> FleetRows:
    recent: Recent[FleetRows] = cache.recent(cache.FLEET, POLL_S)
    return recent.get(_look)


def _look(former: FleetRows | None) -> FleetRows:
    former_rows = {row.id: row for row in former.rows} if former else {}
    registered = workers.renewed(services().ledger, former.registered if former else {})
    rows = fleet_rows.rows(services(), [worker for _, worker in registered.values()], _samples(), former_rows)
    held = tuple(holds.listed(services().ledger))
    return FleetRows(rows, waiting.count(services().ledger), registered, services().live.crowded(), held)


def _samples() -> Samples:
    recent: Recent[Samples] = cache.recent(SAMPLES, SAMPLES_S)
    return recent.get(lambda _: samples.of_workers(services().ledger, None, SPARK_S))


def _tiles(pool: FleetRows) -> tuple[Tile, ...]:
    counted = {word: sum(row.status is word for row in pool.rows) for word in STATUSES}
    cards = [card for row in pool.rows for card in row.cards if not row.status.is_gone]
    busy = sum((card.percent or 0) >= BUSY_PERCENT for card in cards)
    taken = sum(len(row.jobs) for row in pool.rows)
    slots = sum(row.slots for row in pool.rows if not row.status.is_gone)
    return (
        *(Tile(word, count, None, f"/?status={word}", word) for word, count in counted.items()),
        Tile("to look into", sum(bool(row.investigation) for row in pool.rows), None, "/?investigation=open", "flag"),
        Tile("slots busy", taken, slots, "/jobs?state=running", "plain"),
        *([Tile("GPUs busy", busy, len(cards), "/?status=healthy", "plain")] if cards else []),
        Tile("jobs waiting", pool.jobs_waiting, None, "/jobs?state=pending", "plain"),
    )


def _proposed(pool: FleetRows) -> dict[str, list[str]]:
    """The words that the filter's form proposes, by field."""

    def words(of: Callable[[WorkerRow], tuple[str, ...]]) -> list[str]:
        return sorted({word for row in pool.rows for word in of(row)})

    return {
        "status": sorted({*STATUSES, *(row.status for row in pool.rows)}),
        "tag": words(lambda row: row.tags),
        "host": words(lambda row: (row.hostname,)),
        "group": groups.names(services().ledger),
    }
