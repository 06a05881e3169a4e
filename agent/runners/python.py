"""The python runner: `module:function`, called with the Job; what it returns is the result."""

from __future__ import annotations

import importlib

from agent.context import Job
from agent.runners import interpreter
from app.pool.model import Json, Workflow


def run(job: Job, workflow: Workflow) -> Json:
    """Call the workflow's function; what it raises is raised. What it prints, its guard reads and logs."""
    module, _, function = workflow.target.partition(":")
    interpreter.be_main(module)
    return getattr(importlib.import_module(module), function)(job)
