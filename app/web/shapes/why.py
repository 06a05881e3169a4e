"""Why a job waits, filter by filter; why each of its attempts went where it did.

Creators see no hosts: neither workers' names nor the reasons that stand beside these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import BaseModel

from app.ledger import attempts, holds, policy
from app.ledger.registry import fleet, workers
from app.ledger.registry.workers import Rows
from app.pool.capacity import takes
from app.pool.matching import Refusal, RefusedBy
from app.pool.model import Attempt, Job, JobState, Json, Worker, WorkerId
from app.pool.why import Seen, Turned, by_filter, by_room, by_setup
from app.web.http import cache
from app.web.http.auth import caller
from app.web.http.cache import Recent
from app.web.http.services import services
from app.web.shapes.job_answers import WaitingAnswer, ahead, waiting_answer
from app.web.shapes.why_words import place, sentence, won, words

NAMED = 5  # workers of each filter
LOOKED_AT = 1000  # workers whose beats and leases one answer reads
CACHE_S = 1.0


class NamedAnswer(BaseModel):
    """A worker, and why it was turned away; null where it could take the job now."""

    id: str
    name: str
    why: str | None


class FilterAnswer(BaseModel):
    """How many workers a filter turned away, in words, and the first of them, whom creators do not see."""

    filter: str
    workers: int
    words: str
    first: list[NamedAnswer]


class RunnerUp(BaseModel):
    """A worker that would have been next."""

    worker: str
    worker_name: str | None
    score: float
    queued: bool
    words: str


class PlacementAnswer(BaseModel):
    """Why an attempt went where it did: the winner's score and load parts as they were, and the runners-up.

    Creators see no worker, and no runners-up.
    """

    attempt: int
    worker: str | None
    worker_name: str | None
    strategy: str
    score: float
    queued: bool
    load: float
    parts: dict[str, Json]
    words: str
    runners_up: list[RunnerUp]


class WhyAnswer(BaseModel):
    """Of a pending job what every filter turned away; of placed ones the placements, newest first."""

    state: JobState
    waiting: WaitingAnswer | None
    summary: str | None
    workers: int | None
    filters: list[FilterAnswer]
    ready: int
    first_ready: list[NamedAnswer]
    not_looked_at: int  # they would fit; whether they have room was not asked
    named_most: int = NAMED
    looked_at_most: int = LOOKED_AT
    placements: list[PlacementAnswer]


def explain(job: Job) -> WhyAnswer:
    """Why this job waits or went where it did, as far as the caller may see. Raises Unavailable, RedisError."""
    tried = attempts.of_job(services().ledger, job.id)
    bare = WhyAnswer(
        state=job.state,
        waiting=waiting_answer(job),
        summary=None,
        workers=None,
        filters=[],
        ready=0,
        first_ready=[],
        not_looked_at=0,
        placements=_placements(tried),
    )
    whole = _filtered(bare, job) if job.state is JobState.PENDING else bare
    return whole if caller().sees_all else _without_hosts(whole)


def _filtered(answer: WhyAnswer, job: Job) -> WhyAnswer:
    requirement = replace(job.spec.requirement, above_vram_mb=None)  # by_room knows whether there is a larger card
    everyone, rules = [worker for _, worker in _registered().values()], policy.read(services().ledger)
    refused = {worker.id: by_setup(worker, requirement, rules) for worker in everyone}
    looked_at = _to_look_at(everyone, refused)
    refused |= by_room(looked_at, _seen(looked_at), job, rules)
    seen = {worker.id for worker in looked_at}
    ready = [w for w in everyone if refused[w.id] is None and w.id in seen]
    unseen = sum(refused[w.id] is None and w.id not in seen for w in everyone)
    turned = by_filter(((w, why) for w in everyone if (why := refused[w.id]) is not None), NAMED)
    hold = next((each.reason.words for each in holds.listed(services().ledger, requirement.workflow)), None)
    facts = {
        "summary": sentence(requirement, len(everyone), turned, len(ready), unseen, ahead(job), hold),
        "workers": len(everyone),
        "filters": [_filter_answer(group, job) for group in turned],
        "ready": len(ready),
        "first_ready": [NamedAnswer(id=w.id, name=w.name, why=None) for w in ready[:NAMED]],
        "not_looked_at": unseen,
    }
    return answer.model_copy(update=facts)


def _without_hosts(answer: WhyAnswer) -> WhyAnswer:
    unnamed: dict[str, Json] = {"worker": None, "worker_name": None, "runners_up": []}
    facts = {
        "filters": [turned.model_copy(update={"first": []}) for turned in answer.filters],
        "first_ready": [],
        "placements": [placement.model_copy(update=unnamed) for placement in answer.placements],
    }
    return answer.model_copy(update=facts)


def _to_look_at(everyone: Sequence[Worker], refused: dict[WorkerId, Refusal | None]) -> list[Worker]:
    """The workers that fit, then those that lack a tag: their newest beats may have it."""
    fitting = [worker for worker in everyone if refused[worker.id] is None]
    lacking = [
        worker for worker in everyone if (why := refused[worker.id]) is not None and why.filter is RefusedBy.TAGS
    ]
    return [*fitting, *lacking][:LOOKED_AT]


def _seen(registered: Sequence[Worker]) -> dict[WorkerId, Seen]:
    ids = [worker.id for worker in registered]
    beats = services().live.look(ids).beats
    present = {w.id: b for w in registered if (b := beats.get(w.id)) is not None and b.incarnation == w.incarnation}
    taking = [worker.id for worker in registered if takes(worker, present.get(worker.id))]
    leases = services().live.leases_of(taking) if taking else {}
    return {id_: Seen(present.get(id_), leases.get(id_, {})) for id_ in ids}


def _registered() -> Rows:
    recent: Recent[Rows] = cache.recent(cache.REGISTERED, CACHE_S)
    return recent.get(lambda former: workers.renewed(services().ledger, former or {}))


def _filter_answer(turned: Turned, job: Job) -> FilterAnswer:
    first = [NamedAnswer(id=worker.id, name=worker.name, why=why) for worker, why in turned.first]
    text = words(turned, job.spec.requirement)
    return FilterAnswer(filter=turned.filter, workers=turned.workers, words=text, first=first)


def _placements(tried: Sequence[Attempt]) -> list[PlacementAnswer]:
    placed = [(attempt, attempt.placement) for attempt in reversed(tried) if attempt.placement]
    others = {WorkerId(other["worker"]) for _, record in placed for other in record["runners_up"]}
    names = fleet.names(services().ledger, others)
    return [_placement(attempt, record, names) for attempt, record in placed]


def _placement(attempt: Attempt, record: Mapping[str, Json], names: Mapping[WorkerId, str]) -> PlacementAnswer:
    others = [
        {**other, "worker_name": names.get(other["worker"]), "words": place(record["strategy"], other)}
        for other in record["runners_up"]
    ]
    facts = {**record, "runners_up": others, "worker": attempt.worker, "worker_name": attempt.worker_name}
    return PlacementAnswer(attempt=attempt.number, words=won(record), **facts)
