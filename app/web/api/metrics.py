"""/metrics for Prometheus: everything is computed when it is asked for, from the ledger and from what is live.

Nothing is counted in this process's memory, so any number of web processes give the same figures and a
restart resets none. Job ids are no labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from app.ledger import holds, statistics
from app.ledger.registry import workers
from app.pool.load import ANSWERED
from app.pool.model import JobState
from app.pool.status import WorkerStatus
from app.web.http import blueprints
from app.web.http.services import services
from app.web.shapes.worker_answers import WorkerAnswer, worker_answers

blueprint = blueprints.group("metrics", reads=("admin", "read", "metrics"))

Gauge = tuple[str, str, Callable[[Any], float | None]]  # name, help, how it is read
FIGURES: Sequence[Gauge] = (
    ("muster_gpu_utilisation_ratio", "Use of the card", lambda gpu: gpu.utilisation),
    ("muster_gpu_memory_ours_bytes", "Memory used by the pool's jobs", lambda gpu: _bytes(gpu.memory.ours)),
    ("muster_gpu_memory_others_bytes", "Memory used by others", lambda gpu: _bytes(gpu.memory.others)),
    ("muster_gpu_memory_free_bytes", "Free memory", lambda gpu: _bytes(gpu.memory.free)),
    ("muster_gpu_temperature_celsius", "Temperature", lambda gpu: gpu.temperature_c),
    ("muster_gpu_power_watts", "Power drawn", lambda gpu: gpu.power_w),
)


@blueprint.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
def metrics() -> Response:
    """Figures for Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PoolCollector())
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class PoolCollector(Collector):
    """The pool's figures at this moment. A figure that nobody could measure is absent, never 0."""

    def collect(self) -> Iterator[Any]:
        ledger = services().ledger
        shown = worker_answers(workers.listed(ledger), services().live, {}, {})
        yield from _workers(shown)
        yield from _gpus(shown)
        yield _family("muster_jobs", "Jobs by state", "state", statistics.jobs(ledger), [str(s) for s in JobState])
        held = (([hold.workflow], 1.0) for hold in holds.listed(ledger))
        yield _labelled("muster_workflow_on_hold", "Workflows of which one job at a time tries", ["workflow"], held)
        yield _total("muster_attempts_ended", "Attempts by how they ended", "end", statistics.attempts(ledger))
        yield _total("muster_health_transitions", "Changes of workers' health", "to", statistics.transitions(ledger))


def _workers(shown: Sequence[WorkerAnswer]) -> Iterator[Any]:
    yield _family("muster_workers", "Workers by status", "status", Counter(w.status for w in shown), [*WorkerStatus])
    per_worker: Sequence[Gauge] = [
        ("muster_worker_load_ratio", "Load score, 0 idle to 1 full", lambda w: w.score),
        ("muster_worker_slots", "Slots", lambda w: w.slots),
        ("muster_worker_running_jobs", "Jobs that run", lambda w: w.jobs),
        ("muster_worker_queued_jobs", "Jobs that have not started", lambda w: w.queued),
        ("muster_worker_heartbeat_age_seconds", "Age of the last heartbeat", lambda w: w.heartbeat_age_s),
    ]
    for name, text, read in per_worker:
        yield _labelled(name, text, ["worker", "name"], (([w.id, w.name], read(w)) for w in shown))
    parts = (([w.id, w.name, part], getattr(w.load, part)) for w in shown for part in ANSWERED.values())
    yield _labelled("muster_worker_load_part_ratio", "Parts of the load score", ["worker", "name", "part"], parts)


def _gpus(shown: Sequence[WorkerAnswer]) -> Iterator[Any]:
    cards = [(w, gpu) for w in shown for gpu in w.gpus]
    for name, text, read in FIGURES:
        values = (([w.id, gpu.uuid, gpu.model], read(gpu)) for w, gpu in cards)
        yield _labelled(name, text, ["worker", "gpu", "model"], values)


def _family(name: str, text: str, label: str, counts: dict[str, int], every: Iterable[str]) -> GaugeMetricFamily:
    """A gauge for each label of `every`, 0 where nothing was counted: counts are known, unlike what is measured."""
    return _labelled(name, text, [label], (([value], float(counts.get(value, 0))) for value in every))


def _labelled(
    name: str, text: str, labels: list[str], values: Iterable[tuple[list[str], float | None]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for named, value in values:
        if value is not None:
            family.add_metric(named, float(value))
    return family


def _total(name: str, text: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _bytes(mebibytes: int | None) -> float | None:
    return None if mebibytes is None else mebibytes * 1024.0 * 1024.0
