"""What several unit tests stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.nvml import Driver


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver(tmp_path / "nvml")
    for name in ("LD_LIBRARY_PATH", "MUSTER_NVML_FILE"):
        monkeypatch.setenv(name, driver.environ[name])
    return driver
