"""What is declared of a success, as docs/workflows.md shows it, in a real workflow process."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from agent.attempt.log_watch import LogWatch
from agent.join.declare import declared
from app.pool.model import Workflow
from tests.kit.workflow_scene import ROOT, WorkflowScene

RENDERED = """#!/bin/sh
echo "Read blend: $2"
for frame in $FRAMES; do printf x >"f_$frame.exr"; done
for frame in $EMPTY; do : >"f_$frame.exr"; done
"""


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    """The workflow that the document declares, with a blender that writes the frames it is told by FRAMES and EMPTY."""
    [example] = re.findall(r"```toml\n(\[workflows\.render\].*?)```", (ROOT / "docs/workflows.md").read_text(), re.S)
    (tmp_path / "blender").write_text(RENDERED)
    (tmp_path / "blender").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "workflows.toml").write_text(example)
    (tmp_path / "shot.blend").touch()
    [workflow] = declared(tmp_path / "workflows.toml").workflows
    return workflow


def test_the_line_that_the_document_names_is_found(render: Workflow) -> None:
    remarks: list[str] = []
    watch = LogWatch([each.log for each in render.fail_when], remarks.append)
    watch.feed(
        b"Read blend: shot.blend\nWarning: 1 libraries and 3 linked data-blocks are missing, look at the console\n"
    )
    assert watch.found and watch.found.startswith("Warning: 1 libraries")


@pytest.mark.parametrize(
    ("frames", "empty", "error"),
    [
        ("0001 0003 0005", "", None),
        ("0001 0005", "", "f_0003.exr is missing"),
        ("0001", "0005", "f_0003.exr is missing; f_0005.exr is empty"),
    ],
)
def test_exit_code_0_is_a_success_only_with_the_frames_that_the_document_demands(
    render: Workflow, tmp_path: Path, frames: str, empty: str, error: str | None
) -> None:
    told = {"FRAMES": frames, "EMPTY": empty}
    params = {"scene": str(tmp_path / "shot.blend"), "first": 1, "last": 5, "step": 2}
    with WorkflowScene(tmp_path / "out", render, params, environment=told) as child:
        end = child.begin().end()
    assert end["end"] == ("failed" if error else "succeeded")
    assert end["error"] == (error and f"its outputs are not what its workflow demands: {error}")
    assert bool(end["outputs"]) is (error is None)
