"""A control group with little memory, so that the kernel really kills for lack of it; needs root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.pool.model import new_id

ROOT = Path("/sys/fs/cgroup")


@contextmanager
def limited(most_bytes: int) -> Iterator[Path]:
    """A new group's folder. Skips the test, saying what it lacks, where none can be made."""
    first = ROOT / "memory" if (ROOT / "memory").is_dir() else ROOT
    group = first / f"muster-{new_id()}"
    limit = "memory.limit_in_bytes" if first != ROOT else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(most_bytes))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"needs a control group of its own with a memory limit: {error}")
    try:
        yield group
    finally:
        group.rmdir()
