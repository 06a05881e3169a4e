"""A worker's figures over HTTP: what they are now, and what they were."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated

from flask import Response
from pydantic import BaseModel, Field

from app.actions.workers import find
from app.ledger.registry import samples
from app.pool.model import DAY_S
from app.web.http import blueprints
from app.web.http.auth import READERS
from app.web.http.responses import answer
from app.web.http.schemas import WHOLE, Query, When, WorkerPath
from app.web.http.services import services
from app.web.shapes.worker_answers import GpuAnswer, LoadAnswer, MemoryAnswer, worker_answers

blueprint = blueprints.group("figures", reads=READERS)

SAMPLE_S = 60  # a sample is kept each minute
POINTS = 1440  # in one answer; where more would come, the step grows


class FiguresNow(BaseModel):
    """The load with its parts, and the cards by UUID."""

    score: float | None
    load: LoadAnswer
    jobs: int
    queued: int
    gpus: dict[str, GpuAnswer]


class CardPoint(BaseModel):
    """A card's means over a step."""

    utilisation: float | None
    memory: MemoryAnswer
    temperature_c: float | None
    power_w: float | None


class Point(BaseModel):
    """Means over a step; null where nobody could measure."""

    at: datetime
    score: float | None
    utilisation: float | None
    queue: float | None
    vram: float | None
    jobs: float | None
    gpus: dict[str, CardPoint]


class MetricsAnswer(BaseModel):
    """A worker's figures; `step` is the one that was taken, in seconds."""

    now: FiguresNow
    series: list[Point]
    begin: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    step: int


class MetricsQuery(Query):
    """Which time, and how finely."""

    begin: When | None = Field(None, alias="from", description="an hour before `to` unless named")
    until: When | None = Field(None, alias="to", description="now unless named")
    step: Annotated[int, Field(ge=SAMPLE_S, le=DAY_S), WHOLE] = Field(
        SAMPLE_S, description=f"seconds; larger where more than {POINTS} points would come"
    )


@blueprint.get("/admin/workers/<id:worker>/metrics", responses={200: MetricsAnswer})
def metrics(path: WorkerPath, query: MetricsQuery) -> Response:
    """Look at a worker's figures."""
    worker = find(services().ledger, path.worker)
    until = query.until or datetime.now(timezone.utc)
    begin = query.begin or _before(until)
    step = _step(begin, until, query.step)
    now = worker_answers([worker], services().live, {}, {})[0]
    return answer(
        MetricsAnswer(
            now=FiguresNow(
                score=now.score,
                load=now.load,
                jobs=now.jobs,
                queued=now.queued,
                gpus={gpu.uuid: gpu for gpu in now.gpus},
            ),
            series=[Point(**row) for row in samples.series(services().ledger, worker.id, begin, until, step)],
            begin=begin,
            until=until,
            step=step,
        )
    )


def _before(until: datetime) -> datetime:
    """One hour before `until`, or the first time that can be written."""
    begins = datetime.min.replace(tzinfo=timezone.utc)
    return max(begins, until - timedelta(hours=1)) if until - begins > timedelta(hours=1) else begins


def _step(begin: datetime, until: datetime, asked_s: int) -> int:
    least = max(0.0, (until - begin).total_seconds()) / POINTS
    return max(asked_s, int(-(-least // SAMPLE_S)) * SAMPLE_S)
