"""The python runner: `module:function`, called with the Job; what it returns is the result."""

from __future__ import annotations

import contextlib
import importlib
import io

from agent.context import Job
from app.pool.model import Json, Workflow


def run(job: Job, workflow: Workflow) -> Json:
    """Call the workflow's function. What it prints becomes log lines; what it raises is raised."""
    module, _, function = workflow.target.partition(":")
    printed = _Printed(job)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        return getattr(importlib.import_module(module), function)(job)


class _Printed(io.TextIOBase):
    """A text stream whose whole lines go to the job's log."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._partial = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._partial = (self._partial + text).split("\n")
        if lines:
            self._job.log_all(lines)
        return len(text)
