"""Verbs about tokens, which only admins may use."""

from __future__ import annotations

import click

from app.cli import show
from app.cli.client import Client
from app.cli.options import as_json


@click.group()
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
