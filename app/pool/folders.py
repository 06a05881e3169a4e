"""Where an attempt's files lie below MUSTER_OUTPUT, which the server and all hosts share."""

from __future__ import annotations

from pathlib import Path

from app.pool.model import JobId

CHECKPOINTS = ".checkpoints"  # within the attempt's folder, and no output


def of_attempt(output: Path, job: JobId, attempt: int) -> Path:
    """The output folder of one attempt, below that of its job."""
    return output / job / f"a{attempt}"
