"""How a workflow starts a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import Any

from agent.processes import die_with_parent


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start it without a shell; it dies with this process. From the main thread only (PDEATHSIG).

    Raises FileNotFoundError when there is no such program.
    """
    return subprocess.Popen(
        argv,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        close_fds=False,  # inherits the worker's lock; all else of ours is not inheritable
        preexec_fn=partial(die_with_parent, signal.SIGKILL, os.getpid()),  # noqa: PLW1509 - takes no lock
        **options,
    )
