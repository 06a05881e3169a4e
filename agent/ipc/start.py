"""The guard's first line to a workflow's process: everything that one attempt is given."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.pool.model import FileFact, JobId, Json, Workflow


@dataclass(frozen=True)
class StartFrom:
    """The checkpoint to resume from, as the guard names it."""

    number: int
    state: Json = None
    files_dir: str | None = None
    files: tuple[FileFact, ...] = ()


@dataclass(frozen=True)
class Start:
    """What the workflow's process needs to run the attempt."""

    job: JobId
    attempt: int
    workflow: str
    runner: Workflow
    output_dir: str
    checkpoint_dir: str
    params: dict[str, Json] = field(default_factory=dict)
    resume: StartFrom | None = None
    gpus: tuple[str, ...] = ()
    deadline_fd: int | None = None
    strict: bool = False
    max_orphan_s: int | None = None
