"""Verbs about jobs: submit, look, follow, cancel and retry them."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, TextIO

import click

from app.cli import follow, show
from app.cli.client import BATCH_S, Client
from app.cli.log import PART, LogReader
from app.cli.log_screen import LogScreen
from app.cli.options import AttemptNumber, anyway, as_json
from app.cli.submit import batch_of, preferences, typed_params
from app.pool.log.words import ALL

INTERRUPTED = 130  # what a shell calls a command that Ctrl-C ended


@click.command()
@click.argument("workflow")
@click.option("--param", "-p", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the workflow.")
@click.option("--wait", is_flag=True, help="Show its progress; end as the job ends (0, failed 1, cancelled 2).")
@click.option("--name", default="", help="For people.")
@click.option("--tag", "requires", multiple=True, help="A tag that the worker must have.")
@click.option("--prefer", "prefers", multiple=True, metavar="TAG[=WEIGHT]", help="A tag it had better have.")
@click.option("--group", help="The only group of workers that may run it.")
@click.option("--min-vram-mb", type=int, help="On one GPU, in MiB.")
@click.option("--gpus", type=int, help="So many for itself.")
@click.option("--priority", type=int, default=50, show_default=True, help="0 to 100, higher first.")
@click.option("--timeout-s", type=int, help="Of one attempt.")
@click.option("--strict", is_flag=True, help="No overlap of attempts.")
@anyway
@as_json
def submit(
    workflow: str,
    params: tuple[str, ...],
    prefers: tuple[str, ...],
    wait: bool,
    anyway: bool,
    as_json: bool,
    **demands: Any,
) -> None:
    """Submit a job of WORKFLOW."""
    client = Client.from_environment()
    body = {"workflow": workflow, "params": typed_params(client, workflow, params), "prefers": preferences(prefers)}
    body |= {name: list(value) if isinstance(value, tuple) else value for name, value in demands.items()}
    job = client.submit("/jobs", body, anyway)
    show.warnings(job["warnings"])
    if not wait:
        show.as_json(job) if as_json else click.echo(job["id"])
        return
    click.echo(f"job {job['id']}", err=True)
    sys.exit(_wait(client, job["id"], as_json))


@click.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@anyway
@as_json
def batch(file: TextIO, anyway: bool, as_json: bool) -> None:
    """Submit the jobs of FILE ("-": standard input): all of them, or none.

    It holds one JSON object for each job, as POST /jobs takes it: a line each, or together in a list.
    """
    body = {"jobs": batch_of(file.read())}
    made = replace(Client.from_environment(), call_s=BATCH_S).submit("/jobs/batch", body, anyway)["items"]
    show.warnings(dict.fromkeys(warning for job in made for warning in job["warnings"]))
    show.as_json(made) if as_json else click.echo("\n".join(job["id"] for job in made))


@click.command()
@click.option("--state", multiple=True, help="Only jobs in this state.")
@click.option("--workflow", help="Only jobs of this workflow.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@as_json
def jobs(state: tuple[str, ...], workflow: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first."""
    found = list(Client.from_environment().pages("/jobs", {"state": state, "workflow": workflow}, limit))
    show.as_json(found) if as_json else show.jobs(found)


@click.command()
@click.argument("job")
@as_json
def job(job: str, as_json: bool) -> None:
    """Show one job: why it waits, its attempts, why the present one went where it did."""
    client = Client.from_environment()
    found, attempts = client.get(f"/jobs/{job}"), client.get(f"/jobs/{job}/attempts")["items"]
    why = client.get(f"/jobs/{job}/why")
    show.as_json({**found, "attempts": attempts, "why": why}) if as_json else show.job(found, attempts, why)


@click.command()
@click.argument("job")
def cancel(job: str) -> None:
    """Cancel a job."""
    click.echo(Client.from_environment().delete(f"/jobs/{job}")["status"])


@click.command()
@click.argument("job")
def retry(job: str) -> None:
    """Submit an ended job again; prints the new job's id."""
    click.echo(Client.from_environment().post(f"/jobs/{job}/retry")["id"])


@click.command()
@click.argument("job")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the job has ended.")
@click.option("--attempt", type=AttemptNumber(), help="The newest unless given.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--tail", type=click.IntRange(0, PART), help="Begin with the last lines, so many.")
def logs(job: str, following: bool, attempt: int | str | None, timestamps: bool, tail: int | None) -> None:
    """Print a job's log: what it wrote to standard output and to standard error."""
    client = Client.from_environment()
    tried = client.get(f"/jobs/{job}")["attempt"]
    if attempt is None and tried > 1:
        click.echo(f"attempt {tried}; `--attempt {ALL}` shows the earlier ones too", err=True)
    if isinstance(attempt, int) and attempt > tried:
        raise click.ClickException(f"there is no attempt {attempt} yet; the newest is {tried}")
    named = attempt if isinstance(attempt, int) else None
    reader = LogReader(client, job, named, attempt == ALL, following, tail)
    LogScreen(sys.stdout, timestamps).show(reader.items())


def _wait(client: Client, job: str, as_json: bool) -> int:
    try:
        ended = follow.until_end(client, job)
    except KeyboardInterrupt:
        click.echo(f"the job goes on; `python -m app cancel {job}` ends it", err=True)
        return INTERRUPTED
    if as_json:
        show.as_json(ended)
    else:
        click.echo("".join(f"{path}\n" for path in follow.output_paths(client, job)), nl=False)
    return follow.exit_code(ended)


COMMANDS = (submit, batch, jobs, job, cancel, retry, logs)
