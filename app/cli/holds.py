"""Verbs about workflows on hold: which are and why, and to lift a hold at once."""

from __future__ import annotations

import click

from app.cli import show
from app.cli.client import Client
from app.cli.options import as_json


@click.command()
@as_json
def holds(as_json: bool) -> None:
    """List the workflows on hold, of which one job at a time tries."""
    found = Client.from_environment().get("/admin/holds")["items"]
    show.as_json(found) if as_json else show.holds(found)


@click.command()
@click.argument("workflow")
def lift(workflow: str) -> None:
    """Lift the hold of WORKFLOW: all its jobs may start."""
    Client.from_environment().delete(f"/admin/holds/{workflow}")
    click.echo(f"{workflow} is not on hold any more")


COMMANDS = (holds, lift)
