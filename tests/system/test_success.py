"""The whole pool with a program that needs a licence, and that leaves half of its frames: what the studio declares."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.kit.services import eventually
from tests.kit.whole_pool import WholePool

DECLARED = """
[workflows.licensed]
runner = "command"
argv = ["sh", "-c", "test -e FREE || { echo no licence left; exit 75; }; echo x >f_0001.exr; : >f_0002.exr"]
parameters.last = { type = "int", required = true }
rules = [{ log = "no licence left", then = "hold" }]
outputs = { names = ["f_{1..last:04}.exr"], not_empty = true }
"""


@pytest.mark.timeout(180)
def test_a_hold_outlives_the_coordinator_and_ends_when_a_licence_is_free_and_half_of_the_frames_is_no_success(
    pool: WholePool, tmp_path: Path
) -> None:
    free, declared = tmp_path / "free", tmp_path / "workflows.toml"
    declared.write_text(DECLARED.replace("FREE", str(free)))
    pool.start("--workers", "2", MUSTER_WORKFLOWS=str(declared))
    wholes = [_submit(pool, last=1) for _ in range(4)]
    half = _submit(pool, last=4)

    [hold] = eventually(lambda: pool.client.get("/admin/holds")["items"], 40)
    assert hold["why"] == "no licence left"
    os.kill(pool.only("app coordinator"), signal.SIGKILL)
    eventually(lambda: all("is on hold since" in _why(pool, job) for job in (*wholes, half)), 60)
    free.touch()

    eventually(lambda: all(_job(pool, job)["status"] == "succeeded" for job in wholes), 90)
    assert pool.client.get("/admin/holds")["items"] == []
    assert [_job(pool, job)["failures"] for job in wholes] == [0] * 4
    assert all(_job(pool, job)["warnings"] == ["its output f_0002.exr is empty"] for job in wholes)
    eventually(lambda: _job(pool, half)["failures"] > 0, 60)
    [failed] = [each for each in pool.client.get(f"/jobs/{half}/attempts")["items"] if each["end"] == "failed"][:1]
    assert failed["cause"] == "workflow"
    assert "f_0003.exr and 1 more are missing; f_0002.exr is empty" in failed["error"]


def _submit(pool: WholePool, **params: int) -> str:
    job: str = pool.client.post("/jobs", {"workflow": "licensed", "params": params})["id"]
    return job


def _job(pool: WholePool, job: str) -> dict[str, Any]:
    found: dict[str, Any] = pool.client.get(f"/jobs/{job}")
    return found


def _why(pool: WholePool, job: str) -> str:
    waiting = _job(pool, job)["waiting"]
    return waiting["why"] if waiting else ""
