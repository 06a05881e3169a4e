"""What the checkpoints of a command keep of its output folder, and what the next attempt finds there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.files import durable, moving
from agent.files.kept.patterns import Patterns, problem
from agent.files.kept.store import Store
from agent.join.declare import declared
from app.pool.errors import SettingsError
from app.pool.model import FileFact, Workflow
from tests.kit.workflow_scene import WorkflowScene


class Attempts:
    """The attempts of one job, each with an output folder and a store, as the runner has them."""

    def __init__(self, job: Path, keep: Sequence[str] | None = None) -> None:
        self.job, self.keep_patterns = job, keep
        self.number = 0
        self.begin()

    def begin(self, resumed: tuple[int, FileFact] | None = None) -> None:
        """The next attempt, from a checkpoint of one before it."""
        self.number += 1
        self.output = self.job / f"a{self.number}"
        self.checkpoints = self.output / ".checkpoints"
        self.checkpoints.mkdir(parents=True)
        self.store = Store(self.output, self.checkpoints, Patterns(self.keep_patterns))
        if resumed:
            attempt, counts = resumed
            self.store.restore(f"a{attempt}", self.job / f"a{attempt}/.checkpoints/kept", counts, no_tick)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.output / name).write_text(text)

    def keep(self, *named: str) -> tuple[int, FileFact]:
        counts = self.store.keep(named, no_tick)
        assert counts is not None
        return self.number, counts

    def texts(self) -> dict[str, str]:
        """What is in the output folder now."""
        files = [path for path in self.output.rglob("*") if path.is_file() and self.checkpoints not in path.parents]
        return {path.relative_to(self.output).as_posix(): path.read_text() for path in files}


def no_tick(words: str) -> None:
    pass


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path / "job")


def test_what_is_written_later_does_not_reach_a_checkpoint(attempts: Attempts) -> None:
    attempts.write(grows="1", cut="whole", inplace="before", replaced="old", gone="there")
    kept = attempts.keep()
    with (attempts.output / "grows").open("a") as grows:
        grows.write("2")
    os.truncate(attempts.output / "cut", 0)
    with (attempts.output / "inplace").open("r+") as inplace:
        inplace.write("AFTER!")
    attempts.write(new="new")
    (attempts.output / "new").replace(attempts.output / "replaced")
    (attempts.output / "gone").unlink()
    attempts.begin(kept)
    assert attempts.texts() == {"grows": "1", "cut": "whole", "inplace": "before", "replaced": "old", "gone": "there"}


def test_what_has_changed_is_kept_anew_and_what_was_deleted_does_not_come_back(attempts: Attempts) -> None:
    attempts.write(log="1", frame="one", temporary="x")
    attempts.keep()
    attempts.write(log="1\n2", frame="two")
    (attempts.output / "temporary").unlink()
    attempts.begin(attempts.keep())
    assert attempts.texts() == {"log": "1\n2", "frame": "two"}
    attempts.begin(attempts.keep())  # a checkpoint in which nothing is new
    assert attempts.texts() == {"log": "1\n2", "frame": "two"}


def test_the_same_size_within_a_tick_of_the_clock_is_not_taken_for_unchanged(attempts: Attempts) -> None:
    path = attempts.output / "state"
    path.write_text("0000")
    for number in range(1, 60):
        attempts.keep()
        with path.open("r+") as file:
            file.write(f"{number:04d}")
        if path.stat().st_mtime_ns == attempts.store._known["state"][1]:
            pytest.fail("a file that was written anew has the time of the one that was kept")
    attempts.begin(attempts.keep())
    assert attempts.texts() == {"state": "0059"}


def test_what_is_there_already_costs_nothing(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    synced: list[str] = []
    copy, sync = moving.copy, durable.sync

    def counted(source: Any, target: Any, passed: Any) -> int:
        copied.append(Path(source).name)
        return copy(source, target, passed)

    def noted(files: Sequence[Path], *more: Any) -> None:
        synced.extend(file.name for file in files)
        sync(files, *more)

    monkeypatch.setattr(moving, "copy", counted)
    monkeypatch.setattr(durable, "sync", noted)
    sizes: list[int] = []
    for number in range(50):
        attempts.write(**{f"f_{number:04d}.png": "x"})
        before = sizes[-1] if sizes else 0
        sizes.append(attempts.keep()[1].size)
        assert sizes[-1] - before < 200
    assert copied == [f"f_{number:04d}.png" for number in range(50)]
    assert len(synced) == 50
    unchanged = attempts.keep()
    assert (len(copied), len(synced), unchanged[1].size) == (50, 50, sizes[-1])
    attempts.begin(unchanged)
    del copied[:]
    attempts.write(new="y")
    attempts.keep()
    assert copied == ["new"]


def test_only_as_much_counts_as_the_checkpoint_says_that_was_kept(attempts: Attempts) -> None:
    attempts.write(one="1")
    kept = attempts.keep()
    attempts.write(one="one", two="2")
    attempts.keep()  # nobody heard of it
    attempts.begin(kept)
    assert attempts.texts() == {"one": "1"}


def test_an_attempt_that_dies_before_its_first_checkpoint_costs_nothing(attempts: Attempts) -> None:
    attempts.write(one="1")
    kept = attempts.keep()
    attempts.begin(kept)
    attempts.write(half="lost")
    attempts.begin(kept)
    attempts.write(two="2")
    later = attempts.keep()
    (attempts.output / "one").unlink()
    attempts.begin(later)
    attempts.write(three="3")
    attempts.begin(attempts.keep())
    assert attempts.texts() == {"one": "1", "two": "2", "three": "3"}
    copies = [path for path in attempts.job.rglob(".checkpoints/kept/*") if path.name.isdecimal()]
    assert len(copies) == 3  # each of them once, whichever attempt made it


def test_an_old_attempt_that_still_runs_disturbs_nobody(attempts: Attempts) -> None:
    attempts.write(one="1")
    kept = attempts.keep()
    old_output, old_store = attempts.output, attempts.store
    attempts.begin(kept)
    (old_output / "one").write_text("changed")
    old_store.keep((), no_tick)
    attempts.write(two="2")
    attempts.begin(attempts.keep())
    assert attempts.texts() == {"one": "1", "two": "2"}


def test_names_modes_links_and_folders_come_back_as_they_were(attempts: Attempts) -> None:
    odd = os.fsdecode(b"\xe9t\xe9\n\x01.txt")
    models = attempts.output / "models" / "deep"
    models.mkdir(parents=True)
    (models / odd).write_text("odd")
    (attempts.output / "run.sh").write_text("#!/bin/sh")
    (attempts.output / "run.sh").chmod(0o755)
    (attempts.output / "latest").symlink_to("models/deep")
    (attempts.output / "absolute").symlink_to(models / odd)
    (attempts.output / "outside").symlink_to("/usr/share")
    os.mkfifo(attempts.output / "pipe")
    old = attempts.output
    attempts.begin(attempts.keep())
    assert (attempts.output / "latest" / odd).read_text() == "odd"
    assert (attempts.output / "absolute").resolve() == (attempts.output / "models/deep" / odd).resolve()
    assert (attempts.output / "outside").readlink() == Path("/usr/share")
    assert (attempts.output / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (attempts.output / "run.sh").stat().st_mtime_ns == (old / "run.sh").stat().st_mtime_ns
    assert not (attempts.output / "pipe").exists()


def test_a_file_that_becomes_a_folder_and_a_folder_that_becomes_a_file(attempts: Attempts) -> None:
    attempts.write(a="file")
    (attempts.output / "b").mkdir()
    (attempts.output / "b/x").write_text("within")
    attempts.keep()
    (attempts.output / "a").unlink()
    (attempts.output / "a").mkdir()
    (attempts.output / "a/y").write_text("within")
    (attempts.output / "b/x").unlink()
    (attempts.output / "b").rmdir()
    attempts.write(b="file")
    attempts.begin(attempts.keep())
    assert attempts.texts() == {"a/y": "within", "b": "file"}


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (["*.png"], {"a.png"}),
        (["**/*.png"], {"a.png", "sub/b.png", "models/deep/c.png"}),
        (["models/**"], {"models/m1", "models/deep/c.png"}),
        (["models/*", "log"], {"models/m1", "log"}),
        (["m*/**/*.png"], {"models/deep/c.png"}),
        (["?.png", "[!l]*"], {"a.png"}),
        ([], set()),
        (None, {"a.png", "log", "sub/b.png", "models/m1", "models/deep/c.png", "cache/x"}),
    ],
)
def test_patterns_say_what_is_kept(tmp_path: Path, keep: list[str] | None, kept: set[str]) -> None:
    attempts = Attempts(tmp_path / "job", keep)
    for name in ("a.png", "log", "sub/b.png", "models/m1", "models/deep/c.png", "cache/x"):
        (attempts.output / name).parent.mkdir(parents=True, exist_ok=True)
        (attempts.output / name).write_text(name)
    counts = attempts.store.keep((), no_tick)
    assert (counts is None) == (not kept)
    attempts.begin((1, counts) if counts else None)
    assert set(attempts.texts()) == kept


def test_folders_in_which_nothing_can_match_are_not_looked_into() -> None:
    patterns = Patterns(["models/*/best", "f_*.png"])
    assert patterns.may_match_in("models") and patterns.may_match_in("models/one")
    assert not patterns.may_match_in("cache") and not patterns.may_match_in("models/one/two")
    assert Patterns(["**/x"]).may_match_in("any/depth") and not Patterns([]).may_match_in("any")


@pytest.mark.parametrize("pattern", ["", "/abs/*", "../*", "a//b", "a/", "./a", "x" * 201])
def test_a_pattern_that_cannot_match_is_refused(pattern: str) -> None:
    assert problem(pattern)


def test_a_declaration_may_say_what_its_checkpoints_keep(tmp_path: Path) -> None:
    file = tmp_path / "workflows.toml"
    begin = 'shipped = []\n[workflows.x]\nrunner = "command"\nargv = ["true"]\n'
    file.write_text(begin + 'keep = ["f_*.png", "models/**"]')
    (workflow,) = declared(file).workflows
    assert workflow.keep == ("f_*.png", "models/**")
    for wrong, why in (
        ('keep = ["../x"]', r"keep: '\.\./x' must lie in the output folder"),
        ('keep = "f_*.png"', "keep must be a list"),
        ("keep = [5]", "keep: '5' is no text"),
        (f"keep = {json.dumps(['x'] * 51)}", "at most 50"),
    ):
        file.write_text(begin + wrong)
        with pytest.raises(SettingsError, match=why):
            declared(file)
    file.write_text('shipped = []\n[workflows.x]\nrunner = "python"\ntarget = "m:f"\nkeep = []')
    with pytest.raises(SettingsError, match="keep is for commands"):
        declared(file)


def test_named_files_are_added_to_those_of_earlier_checkpoints(attempts: Attempts) -> None:
    attempts.write(**{"f 1.png": "1", "other": "x"})
    attempts.keep("f 1.png")
    (attempts.output / "sub").mkdir()
    (attempts.output / "sub/f2.png").write_text("2")
    attempts.keep(str(attempts.output / "sub/f2.png"))
    attempts.write(last="3")
    (attempts.output / "sub/f2.png").unlink()
    attempts.begin(attempts.keep("./last"))
    assert attempts.texts() == {"f 1.png": "1", "last": "3"}


@pytest.mark.parametrize(
    "name", ["missing", "folder", "../outside", "/etc/passwd", "leads/passwd", ".checkpoints/x", ""]
)
def test_what_is_named_and_is_no_file_there_is_refused_and_the_last_checkpoint_stands(
    attempts: Attempts, name: str
) -> None:
    attempts.write(one="1")
    kept = attempts.keep()
    (attempts.output / "folder").mkdir()
    (attempts.output / "leads").symlink_to("/etc")
    (attempts.checkpoints / "x").touch()
    (attempts.job / "outside").touch()
    with pytest.raises(ValueError, match="is no file in the output folder"):
        attempts.store.keep(["one", name], no_tick)
    attempts.begin(kept)
    assert attempts.texts() == {"one": "1"}


def test_a_checkpoint_that_a_full_disk_cut_off_does_not_count_and_the_next_one_does(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts.write(one="1")
    attempts.keep()
    attempts.write(two="2")
    written = os.pwrite
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", lambda fd, text, at: written(fd, text[: len(text) // 2], at))
        with pytest.raises(OSError, match="could be written"):
            attempts.keep()
    attempts.begin(attempts.keep())
    assert attempts.texts() == {"one": "1", "two": "2"}


@pytest.mark.parametrize("harm", ["copy gone", "copy cut", "manifest changed", "manifest gone"])
def test_what_is_no_longer_whole_is_not_taken_for_the_checkpoint(attempts: Attempts, harm: str) -> None:
    attempts.write(one="1")
    kept = attempts.keep()
    store = attempts.checkpoints / "kept"
    if harm == "copy gone":
        (store / "1").unlink()
    elif harm == "copy cut":
        os.truncate(store / "1", 0)
    elif harm == "manifest changed":
        (store / "manifest").write_bytes(bytes(1000))
    else:
        (store / "manifest").unlink()
    with pytest.raises((ValueError, FileNotFoundError)):
        attempts.begin(kept)


FRAMES = r"""
import json, os, sys
last = json.load(open(os.environ["MUSTER_CHECKPOINT"]))["frame"] if "MUSTER_CHECKPOINT" in os.environ else 0
print("there:", *sorted(name for name in os.listdir() if name.startswith("f")), flush=True)
for frame in range(last + 1, 9):
    open(f"f {frame}.png", "w").write(str(frame))
    print("::checkpoint", json.dumps({"frame": frame}), *sys.argv[1:], flush=True)
    if frame == 4 and not last:
        sys.exit(75)
"""


@pytest.mark.parametrize("named", ["", "named"])
def test_a_command_goes_on_with_all_its_files_and_they_are_its_outputs(tmp_path: Path, named: str) -> None:
    script = tmp_path / "frames.py"
    script.write_text(FRAMES.replace("*sys.argv[1:]", "f\"'f {frame}.png'\"") if named else FRAMES)
    workflow = Workflow("frames", "command", argv=(sys.executable, str(script)))
    with WorkflowScene(tmp_path / "a1", workflow, {}) as first:
        assert first.begin().end()["exit_code"] == 75
    with first.resumed_by(tmp_path / "a2") as second:
        end = second.begin().end()
    assert second.log == ["there: f 1.png f 2.png f 3.png f 4.png"]
    assert [(fact["name"], fact["size"]) for fact in end["outputs"]] == [(f"f {n}.png", 1) for n in range(1, 9)]
    assert len(second.last("checkpoint")["files"]) == 1


def test_a_command_is_told_why_its_checkpoint_is_not_kept(tmp_path: Path) -> None:
    script = """echo '::checkpoint {"at": 1} no.png'; echo '::checkpoint {"at": 2}x'; echo "::checkpoint 3 'x" """
    workflow = Workflow("told", "command", argv=("sh", "-c", script))
    with WorkflowScene(tmp_path / "a1", workflow, {}) as child:
        assert child.begin().end()["end"] == "succeeded"
    assert not any("checkpoint" in message for message in child.said)
    said = [message["remark"] for message in child.said if "remark" in message]
    assert ["'no.png' is no file" in said[0], "a blank is missing" in said[1], "quotation" in said[2]] == [True] * 3


def test_a_command_whose_checkpoint_is_not_whole_any_more_does_not_begin(tmp_path: Path) -> None:
    workflow = Workflow("told", "command", argv=("sh", "-c", "echo x >file; echo '::checkpoint 1'; sleep 0; echo on"))
    with WorkflowScene(tmp_path / "a1", workflow, {}) as first:
        first.begin().end()
    (tmp_path / "a1/.checkpoints/kept/1").unlink()
    with first.resumed_by(tmp_path / "a2") as second:
        end = second.begin().end()
    assert end["end"] == "failed" and "the files of checkpoint 1 cannot be brought back" in end["error"]
    assert second.log == []
