"""Following a job from the command line: a progress bar until its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.cli import show
from app.cli.client import Client
from app.pool.errors import Unavailable

LOOK_S = 0.5
ENDED = {"succeeded": 0, "failed": 1, "cancelled": 2}  # state -> exit code


def until_end(client: Client, job: str) -> Any:
    """Show a progress bar until the job has ended and return the job; wait for a server that restarts."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("waiting", total=1.0)
        for found in _looks(client, job):
            if found is None:
                progress.update(bar, description="the server does not answer; the job goes on")
                continue
            if found["state"] in ENDED:
                progress.update(bar, completed=found["progress"], description=found["status"])
                return found
            why = (found["waiting"] or {}).get("why") or found["text"]
            progress.update(bar, completed=found["progress"], description=f"{found['status']}  {why}".strip())
    raise AssertionError("looking ends only with the job")


def output_paths(client: Client, job: str) -> list[str]:
    """The paths of the job's outputs."""
    return [output["path"] for output in client.get(f"/jobs/{job}/outputs")["items"]]


def exit_code(job: Any) -> int:
    """The exit code for an ended job: 0 succeeded (warnings go to stderr), 1 failed (so does why), 2 cancelled."""
    show.warnings(job["warnings"])
    if job["state"] == "failed":
        click.echo(f"failed: {job['error'] or 'no reason was given'}", err=True)
    return ENDED[job["state"]]


def _looks(client: Client, job: str) -> Iterator[Any]:
    while True:
        try:
            yield client.get(f"/jobs/{job}")
        except Unavailable:
            yield None
        time.sleep(LOOK_S)
