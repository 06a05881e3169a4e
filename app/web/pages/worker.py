"""A worker's page: what it is and does now, the jobs it ran, the changes of its health."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.actions import workers
from app.ledger import groups, investigations, policy
from app.ledger.registry import fleet, samples
from app.pool.keys import queue
from app.pool.load import ANSWERED, WORDS
from app.pool.model import Intent, Worker
from app.web.http import htmx
from app.web.http.auth import READERS, caller
from app.web.http.forms import Errors
from app.web.http.schemas import PageQuery
from app.web.http.services import services
from app.web.pages import fleet_rows
from app.web.pages.base import page
from app.web.pages.fleet_rows import WorkerRow
from app.web.pages.worker_form import Written, form_of
from app.web.shapes.worker_answers import LoadAnswer, worker_answers
from app.web.shapes.worker_history import TransitionAnswer, WorkerJobAnswer, jobs_given, transitions

blueprint = Blueprint("worker_page", __name__)
STRIP = timedelta(hours=24)
STRIP_WIDTH = 1000


@dataclass(frozen=True)
class Stretch:
    """A piece of the strip: a time during which the worker's health was the same."""

    x: int
    width: int
    health: str


@dataclass(frozen=True)
class LoadPart:
    """A part of the load, in percent; where nobody could measure it, the mean that it counts as."""

    name: str
    percent: int | None
    mean: int | None


@dataclass(frozen=True)
class WorkerView:
    """The part of a worker's page that changes."""

    row: WorkerRow
    score: int | None
    load: tuple[LoadPart, ...]
    attempts: tuple[WorkerJobAnswer, ...]
    changes: tuple[TransitionAnswer, ...]
    strip: tuple[Stretch, ...]
    paused: bool
    acts: bool  # the reader may act on the worker


@blueprint.get("/workers/<id:worker>")
@page(*READERS)
def shown(worker: str) -> ResponseReturnValue:
    """The worker's page."""
    return whole(workers.find(services().ledger, worker), None, {})


@blueprint.get("/ui/workers/<id:worker>")
@page(*READERS)
def fragment(worker: str) -> ResponseReturnValue:
    """The part of a worker's page that changes."""
    return htmx.fragment("workers/_worker.html", _view(workers.find(services().ledger, worker)))


def whole(worker: Worker, written: Written | None, errors: Errors) -> str:
    """The worker's page; its form shows the present setup, or what somebody wrote."""
    ledger = services().ledger
    form = form_of(worker, groups.names(ledger), policy.read(ledger).queue_depth, written, errors)
    return render_template("workers/worker.html", worker=worker, view=_view(worker), queue=queue(worker.id), form=form)


def strip(changes: list[TransitionAnswer], now: datetime) -> tuple[Stretch, ...]:
    """The last day's health from its `changes`, which come newest first; nothing before the first change."""
    begin, end, pieces = now - STRIP, now, []
    for change in changes:
        start = max(change.at, begin)
        x, width = _place(start - begin), _place(end - start)
        pieces.append(Stretch(x, max(1, width), str(change.to_health)))
        end = start
        if change.at <= begin:
            break
    return tuple(reversed(pieces))


def _place(span: timedelta) -> int:
    return round(STRIP_WIDTH * max(span, timedelta()) / STRIP)


def _view(worker: Worker) -> WorkerView:
    ledger, ids = services().ledger, [worker.id]
    now = worker_answers([worker], services().live, {}, investigations.open_of(ledger, ids))[0]
    held, idle = fleet.jobs_held(ledger, ids), fleet.idle_since(ledger, ids)
    history = samples.of_workers(ledger, ids, fleet_rows.SPARK_S)
    changes = transitions(worker.id, PageQuery(limit=50)).items
    minute = datetime.now(timezone.utc).replace(second=0, microsecond=0) + timedelta(minutes=1)
    return WorkerView(
        row=fleet_rows.row(worker, now, held.get(worker.id, []), idle.get(worker.id), history.get(worker.id, []), {}),
        score=fleet_rows.percent(now.score),
        load=_parts(now.load),
        attempts=tuple(jobs_given(worker.id, PageQuery(limit=20)).items),
        changes=tuple(changes),
        strip=strip(changes, minute),
        paused=worker.intent is Intent.PAUSED,
        acts=caller().role == "admin",
    )


def _parts(load: LoadAnswer) -> tuple[LoadPart, ...]:
    return tuple(
        LoadPart(WORDS[part], fleet_rows.percent(getattr(load, name)), fleet_rows.percent(load.means.get(name)))
        for part, name in ANSWERED.items()
    )
