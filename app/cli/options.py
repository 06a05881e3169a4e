"""Options that several verbs take, and how every verb fails."""

from __future__ import annotations

from typing import Any

import click

from app.pool.errors import PoolError
from app.pool.log.words import ALL

as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's answer.")

anyway = click.option("--anyway", is_flag=True, help="Also where no worker has ever offered the workflow.")


class AttemptNumber(click.ParamType[int | str]):
    """An attempt's number, or all of them."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or "all"."""
        if value == ALL:
            return ALL
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r} is neither the number of an attempt, from 1, nor all", param, ctx)
        return number


class Commands(click.Group):
    """A group whose verbs report errors that people can mend as one line and exit code 1, never by a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except PoolError as error:
            raise click.ClickException(str(error)) from error
