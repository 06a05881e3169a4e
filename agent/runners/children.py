"""Processes that a workflow starts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import Any

from agent.processes import die_with_parent


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program without a shell. It dies with this process, so call this in the main thread only (PDEATHSIG).

    Options are those of subprocess.Popen. Raises FileNotFoundError when there is no such program.
    """
    return subprocess.Popen(
        argv,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        close_fds=False,  # it inherits the worker's lock; nothing else of ours is inheritable
        preexec_fn=partial(die_with_parent, signal.SIGKILL, os.getpid()),  # noqa: PLW1509 - takes no lock
        **options,
    )
