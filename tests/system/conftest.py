"""The whole pool as a fixture."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pool import Pool


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """A pool that has not been started yet; at the end nothing of it is left."""
    pool = Pool(tmp_path / "home")
    yield pool
    try:
        pool.stop()
    finally:
        for pid in pool.processes():
            os.kill(pid, signal.SIGKILL)
