"""The command line: `python -m app …`. Server verbs run here, all others ask the server over HTTP."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import click

from app.cli import follow, show
from app.cli.client import BATCH_S, Client
from app.cli.named import worker_ids
from app.cli.submit import batch_of, preferences, typed_params
from app.pool.errors import PoolError, SettingsError
from app.pool.settings import DEFAULT_PORT, ServerSettings, home_folder

INTERRUPTED = 130  # what a shell calls a command that Ctrl-C ended


class Commands(click.Group):
    """Errors that people can mend are one line and exit code 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except PoolError as error:
            raise click.ClickException(str(error)) from error


as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's answer.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Muster: a pool of GPU workers."""


@main.command()
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(1, 65535), help="Of the page.")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address for page and Redis.")
@click.option("--home", type=click.Path(path_type=Path), help="State folder; MUSTER_HOME or ./.muster unless given.")
@click.option("--workers", type=click.IntRange(0, 64), help="Local workers; one for each GPU unless given.")
@click.option("--no-agent", is_flag=True, help="Start no local worker.")
@click.option("--no-restart", is_flag=True, help="Do not restart what dies.")
def up(port: int, bind: str, home: Path | None, workers: int | None, no_agent: bool, no_restart: bool) -> None:
    """Run the whole pool on this host until Ctrl-C."""
    from app.up import pool  # its servers are needed by nobody else

    folder = home.absolute() if home else home_folder(os.environ)
    options = pool.UpOptions(folder, port, bind, workers, agent=not no_agent, restart=not no_restart)
    sys.exit(pool.run(options))


@main.command()
@click.option("--port", envvar="MUSTER_PORT", default=DEFAULT_PORT, show_default=True, type=click.IntRange(1, 65535))
@click.option("--bind", envvar="MUSTER_BIND", default="127.0.0.1", show_default=True)
def web(port: int, bind: str) -> None:
    """Run a web process; WEB_CONCURRENCY sets how many."""
    from app.web import serve

    _log()
    serve.main(bind, port, ServerSettings.from_environment())


@main.command()
def coordinator() -> None:
    """Run a coordinator; of several one leads."""
    from app.coordinator.__main__ import main as coordinate

    sys.exit(coordinate())


@main.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    from app.ledger.migrate import migrate as apply

    url = os.environ.get("DATABASE_URL")
    if not url:
        raise SettingsError("DATABASE_URL is not set; give a PostgreSQL URL, or start everything with `make up`")
    for name in apply(url) or ["nothing to do"]:
        click.echo(name)


@main.command()
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
@as_json
def submit(
    workflow: str, params: tuple[str, ...], prefers: tuple[str, ...], wait: bool, as_json: bool, **wishes: Any
) -> None:
    """Submit a job of WORKFLOW."""
    client = Client.from_environment()
    body = {"workflow": workflow, "params": typed_params(client, workflow, params), "prefers": preferences(prefers)}
    body |= {name: list(value) if isinstance(value, tuple) else value for name, value in wishes.items()}
    job = client.submit("/jobs", body)
    if not wait:
        show.as_json(job) if as_json else click.echo(job["id"])
        return
    click.echo(f"job {job['id']}", err=True)
    sys.exit(_wait(client, job["id"], as_json))


@main.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@as_json
def batch(file: TextIO, as_json: bool) -> None:
    """Submit the jobs of FILE ("-": standard input): all of them, or none.

    It holds one JSON object for each job, as POST /jobs takes it: a line each, or together in a list.
    """
    body = {"jobs": batch_of(file.read())}
    made = replace(Client.from_environment(), call_s=BATCH_S).submit("/jobs/batch", body)["items"]
    show.as_json(made) if as_json else click.echo("\n".join(job["id"] for job in made))


@main.command()
@click.option("--state", multiple=True, help="Only jobs in this state.")
@click.option("--workflow", help="Only jobs of this workflow.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@as_json
def jobs(state: tuple[str, ...], workflow: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first."""
    found = list(Client.from_environment().pages("/jobs", {"state": state, "workflow": workflow}, limit))
    show.as_json(found) if as_json else show.jobs(found)


@main.command()
@click.argument("job")
@as_json
def job(job: str, as_json: bool) -> None:
    """Show one job: why it waits, its attempts, why the present one went where it did."""
    client = Client.from_environment()
    found, attempts = client.get(f"/jobs/{job}"), client.get(f"/jobs/{job}/attempts")["items"]
    why = client.get(f"/jobs/{job}/why")
    show.as_json({**found, "attempts": attempts, "why": why}) if as_json else show.job(found, attempts, why)


@main.command()
@click.argument("job")
def cancel(job: str) -> None:
    """Cancel a job."""
    click.echo(Client.from_environment().delete(f"/jobs/{job}")["status"])


@main.command()
@click.argument("job")
def retry(job: str) -> None:
    """Submit an ended job again; prints the new job's id."""
    click.echo(Client.from_environment().post(f"/jobs/{job}/retry")["id"])


@main.command()
@click.argument("job")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the job has ended.")
@click.option("--attempt", type=int, help="The newest unless given.")
def logs(job: str, following: bool, attempt: int | None) -> None:
    """Print a job's log."""
    for line in follow.log_lines(Client.from_environment(), job, attempt, following):
        click.echo(line)


@main.command()
@as_json
def workers(as_json: bool) -> None:
    """List the workers."""
    found = list(Client.from_environment().pages("/admin/workers"))
    show.as_json(found) if as_json else show.workers(found)


@main.command()
@click.argument("tags")
@click.argument("workers", nargs=-1, required=True, metavar="WORKER…")
def tag(tags: str, workers: tuple[str, ...]) -> None:
    """Add TAGS (between commas) to workers, by id or name."""
    _act(workers, {"action": "tag", "tags": tags.split(",")})


@main.command()
@click.argument("tags")
@click.argument("workers", nargs=-1, required=True, metavar="WORKER…")
def untag(tags: str, workers: tuple[str, ...]) -> None:
    """Remove TAGS (between commas) from workers, by id or name."""
    _act(workers, {"action": "untag", "tags": tags.split(",")})


@main.command()
@click.argument("workers", nargs=-1, required=True, metavar="WORKER…")
@click.option("--for-s", type=click.IntRange(1), help="Seconds; until resumed unless given.")
@click.option("--note", default="", help="Why, for people.")
def pause(workers: tuple[str, ...], for_s: int | None, note: str) -> None:
    """Give workers no new jobs; what runs there is finished."""
    _act(workers, {"action": "pause", "for_s": for_s, "note": note})


@main.command()
@click.argument("workers", nargs=-1, required=True, metavar="WORKER…")
def resume(workers: tuple[str, ...]) -> None:
    """Let paused workers take jobs again."""
    _act(workers, {"action": "resume"})


@main.group()
def token() -> None:
    """Make, list and revoke tokens."""


@token.command()
@click.option("--kind", required=True, type=click.Choice(["admin", "creator", "read", "metrics", "join"]))
@click.option("--owner", required=True, help="Whose it is.")
@click.option("--uses", type=click.IntRange(1), help="Of a join token: how many workers may join with it.")
def create(kind: str, owner: str, uses: int | None) -> None:
    """Make a token and print its secret, once."""
    made = Client.from_environment().post("/admin/tokens", {"kind": kind, "owner": owner, "uses": uses})
    click.echo(made["secret"])


@token.command("list")
@as_json
def tokens(as_json: bool) -> None:
    """List tokens, revoked ones too."""
    found = Client.from_environment().get("/admin/tokens")["items"]
    show.as_json(found) if as_json else show.tokens(found)


@token.command()
@click.argument("token")
def revoke(token: str) -> None:
    """Revoke a token by its id."""
    Client.from_environment().delete(f"/admin/tokens/{token}")
    click.echo("revoked")


def _act(workers: tuple[str, ...], action: dict[str, Any]) -> None:
    """One action on these, named as people know them; exit code 1 when it failed for any."""
    client = Client.from_environment()
    named = worker_ids(workers, list(client.pages("/admin/workers")))
    done = client.post("/admin/workers/actions", {**action, "workers": named})["items"]
    sys.exit(0 if show.results(done) else 1)


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


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


if __name__ == "__main__":
    main()
