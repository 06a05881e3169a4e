"""The three whole workflows of docs/workflows.md, as they stand there, each killed in the middle and gone on with."""

from __future__ import annotations

import json
import os
import re
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from agent.join.declare import declared
from app.pool.model import Workflow
from tests.kit.workflow_scene import ROOT, WorkflowScene

PAGE = (ROOT / "docs" / "workflows.md").read_text()

# Frames as Blender 3.4 writes them: under their final name, piece by piece, and then it says so. Each frame has a line
# in the file RENDERED. With DIE it ends in the middle of frame 5, with whoever started it, once that file is there.
BLENDER = """
import os, signal, sys, time
argv = sys.argv
begin, end, output = (argv[argv.index(option) + 1] for option in ("-s", "-e", "-o"))
print("Blender 3.4.1\\nRead blend:", argv[argv.index("-b") + 1])
for frame in range(int(begin), int(end) + 1):
    print(f"Fra:{frame} Mem:9.40M (Peak 10.83M) | Time:00:00.25 | Scene, ViewLayer | Updating Camera")
    name = output.replace("####", f"{frame:04}") + ".png"
    with open(name, "w") as file:
        file.write(f"frame {frame}")
        file.flush()
        while frame == 5 and "DIE" in os.environ:
            if os.path.exists(os.environ["DIE"]):
                os.killpg(0, signal.SIGKILL)
            time.sleep(0.005)
        file.write(", whole")
    with open(os.environ["RENDERED"], "a") as rendered:
        rendered.write(f"{frame} ")
    print(f"Saved: '{name}'\\n Time: 00:00.54 (Saving: 00:00.36)\\n", flush=True)
print("\\nBlender quit")
"""

# An epoch takes until the test has made its file.
PACED = """
    import time
    while not os.path.exists(f"{os.environ['PACE']}/epoch {model['epoch']}"):
        time.sleep(0.005)"""


def block(begin: str) -> str:
    """The code block of the page that begins so."""
    (found,) = re.findall(rf"^```\w+\n({re.escape(begin)}.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def documented(folder: Path, name: str, script: str) -> Workflow:
    """The workflow of this name, its script in `folder`."""
    (folder / script).write_text(block(f"# {script}"))
    file = folder / "workflows.toml"
    declaration = block(f"[workflows.{name}]").replace("/opt/studio", str(folder)).replace("python3", sys.executable)
    file.write_text("shipped = []\n" + declaration)
    (workflow,) = declared(file).workflows
    return workflow


def written(scene: WorkflowScene) -> dict[str, str]:
    """The outputs that were reported, with what they hold; fails when size or hash are wrong."""
    end = scene.said[-1]
    assert end["end"] == "succeeded", end
    contents = {fact["name"]: (scene.folder / fact["name"]).read_bytes() for fact in end["outputs"]}
    for fact in end["outputs"]:
        content = contents[fact["name"]]
        assert (fact["size"], fact["sha256"]) == (len(content), sha256(content).hexdigest())
    return {name: content.decode() for name, content in contents.items()}


def test_all_frames_are_there_and_none_is_rendered_twice(tmp_path: Path) -> None:
    workflow = documented(tmp_path, "frames", "frames.py")
    blender = tmp_path / "bin" / "blender"
    blender.parent.mkdir()
    blender.write_text(f"#!{sys.executable}\n{BLENDER}")
    blender.chmod(0o755)
    (tmp_path / "scene.blend").touch()
    environment = {"PATH": f"{blender.parent}:{os.environ['PATH']}", "RENDERED": str(tmp_path / "rendered")}
    params = {"scene": str(tmp_path / "scene.blend"), "first": 1, "last": 8}
    dying = {**environment, "DIE": str(tmp_path / "die")}
    with WorkflowScene(tmp_path / "a1", workflow, params, environment=dying) as first:
        first.begin().until("checkpoint", checkpoint={"frame": 4})
        (tmp_path / "die").touch()
        assert first.end()["end"] == "failed"
    assert (tmp_path / "a1/f_0005.png").exists()
    with first.resumed_by(tmp_path / "a2", environment=environment) as second:
        second.begin().end()
    assert written(second) == {f"f_{frame:04}.png": f"frame {frame}, whole" for frame in range(1, 9)}
    assert (tmp_path / "rendered").read_text().split() == [str(frame) for frame in range(1, 9)]


def test_a_training_that_imports_nothing_goes_on_with_its_models(tmp_path: Path) -> None:
    workflow = documented(tmp_path, "train", "train.py")
    script = (tmp_path / "train.py").read_text()
    assert "  # an epoch of yours" in script
    (tmp_path / "train.py").write_text(script.replace("  # an epoch of yours", PACED))
    environment = {"PACE": str(tmp_path)}
    with WorkflowScene(tmp_path / "a1", workflow, {"epochs": 25}, environment=environment) as first:
        first.begin()
        for epoch in range(1, 13):
            (tmp_path / f"epoch {epoch}").touch()
            first.until("checkpoint", checkpoint={"epoch": epoch})
    for epoch in range(13, 26):
        (tmp_path / f"epoch {epoch}").touch()
    with first.resumed_by(tmp_path / "a2", environment=environment) as second:
        second.begin().end()
    found = written(second)
    assert {name: json.loads(text)["epoch"] for name, text in found.items()} == {
        "last.json": 25,
        "models/0010.json": 10,
        "models/0020.json": 20,
    }
    assert second.log == ["training from epoch 13"]


def test_a_python_workflow_goes_on_with_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    workflow = documented(tmp_path, "parts", "studio_parts.py")
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with WorkflowScene(tmp_path / "a1", workflow, {"count": 5}, environment=environment) as first:
        first.begin().until("checkpoint", checkpoint={"parts": 3})
    with first.resumed_by(tmp_path / "a2", environment=environment) as second:
        assert second.begin().end()["result"] == {"parts": 5}
    assert written(second) == {f"part_{number:04}.txt": f"part {number}\n" for number in range(1, 6)}
    assert all(message["checkpoint"]["parts"] > 3 for message in second.said if "checkpoint" in message)
