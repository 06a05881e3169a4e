"""The whole pool with a real video: a transcode on real services, and one that a stop interrupts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.pool.faults import VARIABLE
from tests.kit.services import eventually
from tests.kit.whole_pool import ROOT, WholePool, clean

SECONDS = 40
HEIGHT = 120


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A test picture with a tone."""
    path = tmp_path / "clip.mp4"
    sources = (f"testsrc2=size=320x240:rate=25:duration={SECONDS}", f"sine=frequency=440:duration={SECONDS}")
    inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
    subprocess.run(["ffmpeg", "-loglevel", "error", *inputs, "-preset", "ultrafast", str(path)], check=True)
    return path


@pytest.mark.timeout(240)
def test_a_transcode_ends_well_and_another_goes_on_after_the_pool_was_stopped(
    pool: WholePool, clip: Path, tmp_path: Path
) -> None:
    pool.environment[VARIABLE] = f"transcode.segment:3=file {tmp_path / 'go on'}"
    pool.start()
    # Forty segments, held after the third; ending the pool is what lets go of it.
    held = _submit(pool, clip, segment_s=1)
    eventually(lambda: _checkpoint_of(pool, held) == 3, 60)
    before = _segments(pool, held)

    pool.end()
    assert not pool.processes()
    del pool.environment[VARIABLE]
    pool.start()

    eventually(lambda: len(_attempts(pool, held)) == 2 and _attempts(pool, held)[1]["started_at"], 40)
    second = _attempts(pool, held)[1]
    assert second["resumed_from"]["number"] == 3
    eventually(lambda: "segment 4 of 40 encoded" in _log(pool, held, 2), 30)
    assert not any(f"segment {n} of 40 encoded" in _log(pool, held, 2) for n in (1, 2, 3))
    assert before == [f"segment {n} of 40 encoded" for n in (1, 2, 3)]
    pool.client.delete(f"/jobs/{held}")
    eventually(lambda: pool.client.get(f"/jobs/{held}")["status"] == "cancelled", 20)

    path = _transcode_by_command_line(pool, clip)
    _probe(path)
    assert len(_attempts(pool, held)) == 2  # the history is there after all that


def _transcode_by_command_line(pool: WholePool, clip: Path) -> Path:
    """`submit --wait` in a terminal: it ends with the output's path."""
    words = ["submit", "transcode", "--param", f"input={clip.name}", "--param", f"height={HEIGHT}", "--wait"]
    done = subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=clip.parent,
        env={**clean(os.environ), "PYTHONPATH": str(ROOT), "MUSTER_HOME": str(pool.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return Path(done.stdout.strip().splitlines()[-1])


def _probe(path: Path) -> None:
    fields = "format=duration:stream=codec_name,codec_type,height"
    told = subprocess.run(
        ["ffprobe", "-loglevel", "error", "-show_entries", fields, "-of", "json", str(path)],
        capture_output=True,
        check=True,
    )
    found = json.loads(told.stdout)
    streams = {stream["codec_type"]: stream for stream in found["streams"]}
    assert float(found["format"]["duration"]) == pytest.approx(SECONDS, abs=0.2)
    assert (streams["video"]["codec_name"], streams["video"]["height"]) == ("h264", HEIGHT)
    assert streams["audio"]["codec_name"] == "aac"


def _submit(pool: WholePool, clip: Path, **params: Any) -> str:
    wished = {"input": str(clip), "height": HEIGHT, **params}
    job: str = pool.client.post("/jobs", {"workflow": "transcode", "params": wished})["id"]
    return job


def _attempts(pool: WholePool, job: str) -> Any:
    return pool.client.get(f"/jobs/{job}/attempts")["items"]


def _checkpoint_of(pool: WholePool, job: str) -> int:
    folders = (pool.home / "output" / job / "a1" / ".checkpoints").glob("*")
    return max((int(folder.name) for folder in folders if folder.name.isdigit()), default=0)


def _log(pool: WholePool, job: str, attempt: int) -> list[str]:
    return [each["line"] for each in pool.client.get(f"/jobs/{job}/log", {"attempt": attempt})["items"]]


def _segments(pool: WholePool, job: str) -> list[str]:
    """What attempt 1 said of its segments, once the third has been told."""
    eventually(lambda: any("segment 3 of" in line for line in _log(pool, job, 1)), 10)
    return [line for line in _log(pool, job, 1) if "encoded" in line]
