"""Verbs that run a part of the pool on this host. What they need is imported when they run: the others stay quick."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from app.pool.errors import SettingsError
from app.pool.settings import DEFAULT_PORT, ServerSettings, home_folder


@click.command()
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


@click.command()
@click.option("--port", envvar="MUSTER_PORT", default=DEFAULT_PORT, show_default=True, type=click.IntRange(1, 65535))
@click.option("--bind", envvar="MUSTER_BIND", default="127.0.0.1", show_default=True)
def web(port: int, bind: str) -> None:
    """Run a web process; WEB_CONCURRENCY sets how many."""
    from app.web import serve

    _log()
    serve.main(bind, port, ServerSettings.from_environment())


@click.command()
def coordinator() -> None:
    """Run a coordinator; of several one leads."""
    from app.coordinator.__main__ import main as coordinate

    sys.exit(coordinate())


@click.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    from app.ledger.migrate import migrate as apply

    url = os.environ.get("DATABASE_URL")
    if not url:
        raise SettingsError("DATABASE_URL is not set; give a PostgreSQL URL, or start everything with `make up`")
    for name in apply(url) or ["nothing to do"]:
        click.echo(name)


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


COMMANDS = (up, web, coordinator, migrate)
