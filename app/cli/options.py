"""Options that several verbs take, and how every verb fails."""

from __future__ import annotations

from typing import Any

import click

from app.pool.errors import PoolError

as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's answer.")

anyway = click.option("--anyway", is_flag=True, help="Also where no worker has ever offered the workflow.")


class Commands(click.Group):
    """A group whose verbs report errors that people can mend as one line and exit code 1, never by a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except PoolError as error:
            raise click.ClickException(str(error)) from error
