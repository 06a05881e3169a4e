"""The command line: `python -m app …`. Server verbs run here, all others ask the server over HTTP."""

from __future__ import annotations

import click

from app.cli import holds, jobs, server, tokens, workers
from app.cli.options import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Muster: a pool of GPU workers."""


for command in (*server.COMMANDS, *jobs.COMMANDS, *workers.COMMANDS, *holds.COMMANDS, tokens.token):
    main.add_command(command)

if __name__ == "__main__":
    main()
