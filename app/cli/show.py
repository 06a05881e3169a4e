"""What the command line prints: tables and facts for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.pool.duration import lost_work
from app.pool.status import JobStatus, WorkerStatus

Shown = Mapping[str, Any]

PIPE_COLUMNS = 10_000
COLOURS: Mapping[str, str] = {  # by what the API calls `status`
    WorkerStatus.HEALTHY: "green",
    WorkerStatus.DEGRADED: "yellow",
    WorkerStatus.DOWN: "red",
    JobStatus.RUNNING: "cyan",
    JobStatus.MOVING: "cyan",
    JobStatus.SUCCEEDED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "magenta",
}


def as_json(value: Any) -> None:
    """Print the API's answer, indented."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def jobs(found: Iterable[Shown]) -> None:
    """Print a table of jobs."""
    rows = [
        (
            job["id"],
            job["name"],
            job["workflow"],
            _word(job["status"]),
            percent(job),
            job["owner"],
            moment(job["created_at"]),
        )
        for job in found
    ]
    _table(("id", "name", "workflow", "status", "done", "owner", "submitted"), rows, "no jobs; submit one with: submit")


def job(found: Shown, attempts: Sequence[Shown], why: Shown) -> None:
    """Print a job: its facts, why it waits, its attempts as a story, and where the present one was placed and why."""
    facts = {
        "job": found["id"],
        "name": found["name"],
        "workflow": found["workflow"],
        "params": json.dumps(found["params"], ensure_ascii=False),
        "status": f"{found['status']} {percent(found)} {found['text']}".strip(),
        "waiting": found["waiting"] and found["waiting"]["why"],
        "why": why["summary"],
        "owner": found["owner"],
        "submitted": moment(found["created_at"]),
        "ended": moment(found["ended_at"]),
        "error": found["error"],
        "warning": "; ".join(found["warnings"]),
        "result": None if found["result"] is None else json.dumps(found["result"], ensure_ascii=False),
        "retry of": found["retry_of"],
    }
    for name, value in facts.items():
        if value:
            click.echo(f"{name:>10}  {value}")
    for attempt in attempts:
        click.echo(f"{'attempt':>10}  {story(attempt)}")
    for placed in why["placements"]:
        if placed["attempt"] == found["attempt"]:
            _placement(placed)


def story(attempt: Shown) -> str:
    """An attempt in one line."""
    resumed = attempt["resumed_from"]
    began = f", resumed at {resumed['fraction']:.0%}" if resumed else ""
    work = lost_work(attempt["lost_s"], attempt["lost_steps"])
    lost = f", {work} lost" if work else ""
    cause = f" ({attempt['cause']})" if attempt["cause"] and attempt["end"] != "succeeded" else ""
    return f"{attempt['number']} on {attempt['worker_name']}{began}: {attempt['end'] or attempt['state']}{cause}{lost}"


def _placement(placed: Shown) -> None:
    click.echo(f"{'placed':>10}  {placed['words']}")
    others = [
        (other["worker_name"] or other["worker"]) + (f" ({other['words']})" if other["words"] else "")
        for other in placed["runners_up"]
    ]
    if others:
        click.echo(f"{'then':>10}  {', '.join(others)}")


def workers(found: Iterable[Shown]) -> None:
    """Print a table of workers."""
    rows = [
        (
            worker["id"],
            worker["name"],
            _word(worker["status"]).append(f" ({worker['reason']})" if worker["reason"] else ""),
            f"{worker['jobs']}/{worker['slots']}",
            worker["gpu_model"] or "none",
            "" if worker["load"]["utilisation"] is None else f"{worker['load']['utilisation']:.0%}",
            "never" if worker["heartbeat_age_s"] is None else f"{worker['heartbeat_age_s']:.0f} s ago",
            " ".join(worker["workflows"]),
            " ".join(sorted({*worker["tags"], *worker["dynamic_tags"]})),
            " ".join(worker["groups"]),
        )
        for worker in found
    ]
    heads = ("id", "name", "status", "jobs", "gpu", "use", "heartbeat", "workflows", "tags", "groups")
    _table(heads, rows, "no workers; start one with: python -m agent")


def warnings(found: Iterable[str]) -> None:
    """Print what people should look at, a line each, beside what a program reads."""
    for warning in found:
        click.echo(f"warning: {warning}", err=True)


def holds(found: Iterable[Shown]) -> None:
    """Print the workflows on hold, a line each."""
    for hold in found:
        click.echo(hold["words"])


def results(found: Iterable[Shown]) -> bool:
    """Print what became of an action, a line for each worker; True when all of it succeeded."""
    good = True
    for each in found:
        click.echo(f"{each['name'] or each['worker']}: {each['detail']}", err=not each["ok"])
        good = good and each["ok"]
    return good


def tokens(found: Iterable[Shown]) -> None:
    """Print a table of tokens."""
    rows = [
        (
            token["id"],
            token["kind"],
            token["owner"],
            moment(token["created_at"]),
            moment(token["last_used_at"]),
            _state(token),
        )
        for token in found
    ]
    _table(("id", "kind", "owner", "made", "last used", "state"), rows, "no tokens")


def percent(job: Shown) -> str:
    """The progress of a job in per cent; empty before any."""
    return "" if job["state"] == "pending" and not job["progress"] else f"{job['progress']:.0%}"


def moment(text: str | None) -> str:
    """A time to the second, UTC."""
    return text[:19].replace("T", " ") if text else ""


def _state(token: Shown) -> str:
    if token["revoked_at"]:
        return f"revoked {moment(token['revoked_at'])}"
    until = f"until {moment(token['expires_at'])}" if token["expires_at"] else "valid"
    return until if token["uses_left"] is None else f"{until}, {token['uses_left']} uses left"


def _word(status: str) -> Text:
    found = Text()
    return found.append(status, COLOURS.get(status))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str | Text]], empty: str) -> None:
    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head == "id")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))  # people's words: no markup
    # A line for each row where a program reads; an id is copied, so it is never broken.
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)
