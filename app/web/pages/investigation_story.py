"""An investigation as a story: what was seen, in the order in which it happened, and the last figures. PURE.

Evidence is what the coordinator wrote when the worker failed; a part that it lacks is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.ledger.investigations import Investigation, Move, SuspectedCause
from app.ledger.registry.samples import MinuteSample
from app.ledger.registry.workers import Transition
from app.pool.duration import lost_work
from app.pool.model import Json
from app.pool.status import counted, signal_name
from app.web.http.filters import gib
from app.web.pages import sparkline
from app.web.pages.sparkline import Spark

MEANINGS: Mapping[SuspectedCause, str] = {
    SuspectedCause.PROCESS_KILLED: "The host was there, the agent's process was not.",
    SuspectedCause.HOST_SILENT: "Neither the host nor the agent was heard of any more: power, network or a frozen"
    " system.",
    SuspectedCause.REDIS_UNREACHABLE: "The agent answered, but its heartbeats did not come through to Redis.",
    SuspectedCause.GPU_FELL_OFF: "The driver could not reach a GPU any more.",
    SuspectedCause.OUT_OF_MEMORY: "The kernel ended a process because the host's memory was used up.",
    SuspectedCause.SEVERAL_OWNERS: "Jobs of several people failed here one after the other, by their own errors: then"
    " it is likelier the worker than the jobs.",
}
# Of a worker that was not silent.
FIRST_WORDS: Mapping[SuspectedCause, str] = {SuspectedCause.SEVERAL_OWNERS: "the first of these errors"}
BEFORE = timedelta(minutes=10)  # a change of health so shortly before the failure may belong to it
HOTTEST_C = 100  # the top of the temperature's line


@dataclass(frozen=True)
class Step:
    """An event of the story."""

    at: datetime
    tone: str
    words: str
    job: str | None = None
    job_name: str | None = None


@dataclass(frozen=True)
class Figure:
    """A figure's last minutes, and its last value."""

    name: str
    spark: Spark
    last: str


def steps(investigation: Investigation, moves: Iterable[Move], changes: Iterable[Transition]) -> tuple[Step, ...]:
    """The events in their order; of its worker's health `changes` those around the failure."""
    begin, end = investigation.silent_at - BEFORE, investigation.resolved_at
    happened = [
        Step(investigation.silent_at, "degraded", FIRST_WORDS.get(investigation.cause, "last heard of")),
        *(_changed(change) for change in changes if change.at >= begin and (end is None or change.at <= end)),
        *(step for move in moves for step in _moved(move)),
    ]
    if investigation.resolved_at:
        happened.append(
            Step(investigation.resolved_at, "healthy", f"resolved by {investigation.resolved_by}: {investigation.note}")
        )
    return tuple(sorted(happened, key=lambda step: step.at))


def last_words(evidence: Mapping[str, Json]) -> tuple[str, ...]:
    """Sentences on the worker's last heartbeat and on its attempts that failed last."""
    beat, ends = evidence.get("beat") or {}, [end for end in evidence.get("ends") or () if end.get("end") == "failed"]
    running = len(beat.get("attempts", ()))
    sentences = [f"It ran {counted(running, 'job')} when it was last heard of"] if beat else []
    sentences += [f"GPU {gpu.get('index')}: {gpu['reason']}" for gpu in beat.get("gpus", ()) if gpu.get("reason")]
    sentences += [reason] if (reason := beat.get("gpu_reason")) else []
    sentences += [_memory(gpu) for gpu in beat.get("gpus", ()) if (gpu.get("memory") or {}).get("free") is not None]
    return (*sentences, *(_end(end) for end in ends))


def figures(investigation: Investigation) -> tuple[Figure, ...]:
    """The figures of the last minutes before the failure; one that nobody measured is left out."""
    rows = [
        (datetime.fromisoformat(row["at"]), row) for row in investigation.evidence.get("samples") or () if row.get("at")
    ]
    if not rows:
        return ()
    seconds = max(600.0, (investigation.silent_at - min(at for at, _ in rows)).total_seconds() + 60)
    wanted = (("Use", "utilisation", 1, " %"), ("Memory", "vram_used", 1, " %"), ("Load", "load", 1, " %"))
    drawn = [
        _figure(name, [(at, _share(row.get(field), whole)) for at, row in rows], unit, seconds, investigation.silent_at)
        for name, field, whole, unit in (*wanted, ("Temperature", "temperature_c", HOTTEST_C, " °C"))
    ]
    return tuple(figure for figure in drawn if figure)


def _changed(change: Transition) -> Step:
    return Step(change.at, str(change.to_health), f"{change.to_health}: {change.cause}")


def _moved(move: Move) -> list[Step]:
    name = move.name or move.workflow
    lost = lost_work(move.lost_s, move.lost_steps)
    words = f"attempt {move.attempt} was taken away" + (f"; {lost} lost" if lost else "")
    gone = Step(move.ended_at, "down", words, move.job, name)
    if move.started_at is None:
        return [gone]
    after = f", {move.seconds:.1f} s after the silence began" if move.seconds is not None else ""
    return [gone, Step(move.started_at, "healthy", f"continued on {move.to_name}{after}", move.job, name)]


def _end(end: Mapping[str, Json]) -> str:
    how = signal_name(int(end["signal"])) if end.get("signal") else f"exit code {end.get('exit_code')}"
    death = how if end.get("signal") or end.get("exit_code") is not None else str(end.get("cause") or "unknown")
    error = f": {str(end['error'])[:200]}" if end.get("error") else ""
    return f"Attempt {end.get('number')} of job {end.get('job')} ended by {death}{error}"


def _memory(gpu: Mapping[str, Json]) -> str:
    memory = gpu["memory"]
    ours, others = memory.get("ours") or 0, memory.get("others") or 0
    return f"GPU {gpu.get('index')} had {gib(memory['free'])} GiB free; {gib(ours)} ours, {gib(others)} others'"


def _share(value: float | None, whole: float) -> float | None:
    return None if value is None else value / whole


def _figure(
    name: str, points: Sequence[tuple[datetime, float | None]], unit: str, seconds: float, silent_at: datetime
) -> Figure | None:
    measured = [share for _, share in points if share is not None]
    if not measured:
        return None
    # One minute later: a line's right end is a whole minute, and the last sample must lie before it.
    end = silent_at + timedelta(minutes=1)
    lines = sparkline.draw([MinuteSample(at, share, None) for at, share in points], None, seconds, end).lines
    last, highest = round(100 * measured[-1]), round(100 * max(measured))
    words = f"{name.lower()} before the failure: last {last}{unit}, highest {highest}{unit}"
    return Figure(name, Spark(lines, words), f"{last}{unit}")
