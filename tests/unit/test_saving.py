"""What leaves an attempt: on the disk, under names that can be reported, with a word on how far it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from agent.attempt.work_time import WorkTime
from agent.files import durable, names, work
from agent.files.facts import facts
from agent.files.outputs import outputs
from agent.files.work import FileWork
from app.pool.model import FileFact


def saved(folder: Path, said: list[str] | None = None) -> dict[str, FileFact]:
    log = [] if said is None else said
    return {fact.name: fact for fact in outputs(folder, folder / ".checkpoints", lambda words: None, log.append)}


def no_tick(words: str) -> None:
    pass


@pytest.mark.parametrize("count", [3, 700])
def test_every_file_has_its_size_and_hash_however_many_there_are(tmp_path: Path, count: int) -> None:
    for number in range(count):
        folder = tmp_path / f"part {number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}.bin").write_bytes(b"x" * number)
    found = saved(tmp_path)
    expected = {f"part {n % 7}/f{n}.bin": (n, sha256(b"x" * n).hexdigest()) for n in range(count)}
    assert {name: (fact.size, fact.sha256) for name, fact in found.items()} == expected


def test_links_folders_pipes_and_checkpoints_are_no_outputs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to folder").symlink_to("folder")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".checkpoints").mkdir()
    (tmp_path / ".checkpoints" / "kept").touch()
    assert list(saved(tmp_path)) == ["file"]


ODD = {
    b"\xe9t\xe9.txt": "%E9t%E9.txt",
    b"line\nbreak.mp4": "line%0Abreak.mp4",
    b"\x01\x7f": "%01%7F",
    "c1\x85".encode(): "c1%C2%85",
    b"half\xed\xa0\x80": "half%ED%A0%80",
    b"\xff" * 255: "%FF" * 85,
    "né.txt".encode(): "né.txt",
}


def test_what_no_report_can_hold_is_kept_under_an_escaped_name_and_the_log_says_so(tmp_path: Path) -> None:
    for raw in ODD:
        (tmp_path / os.fsdecode(raw)).write_bytes(raw)
    said: list[str] = []
    found = saved(tmp_path, said)
    assert set(found) == set(ODD.values())
    for raw, name in ODD.items():
        assert (tmp_path / name).read_bytes() == raw
        assert found[name].sha256 == sha256(raw).hexdigest()
    assert len(said) == len(ODD) - 1
    assert any("%E9t%E9.txt" in line for line in said)
    assert saved(tmp_path).keys() == found.keys()  # the new names are final


def test_two_names_that_become_the_same_are_both_kept(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xe9t\xe9.txt")).write_text("odd")
    (tmp_path / "%E9t%E9.txt").write_text("plain")
    found = saved(tmp_path)
    assert set(found) == {"%E9t%E9.txt", "%E9t%E9~2.txt"}
    assert (tmp_path / "%E9t%E9.txt").read_text() == "plain"


def test_a_folder_of_an_odd_name_is_reported_with_what_lies_in_it(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"d\xe9p") / "a"
    folder.mkdir(parents=True)
    (folder / os.fsdecode(b"\xe9")).touch()
    assert list(saved(tmp_path)) == ["d%E9p/a/%E9"]


def test_what_no_link_could_lead_to_lies_in_the_output_folder_itself(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(12):
        folder = folder / ("é" * 60)
    folder.mkdir(parents=True)
    (folder / "deep.txt").write_text("deep")
    (tmp_path / "deep.txt").write_text("top")
    found = saved(tmp_path)
    assert set(found) == {"deep.txt", "deep~2.txt"}
    assert all(len(quote(name)) <= names.LONGEST_LINK for name in found)


def test_a_long_name_keeps_its_suffix_when_it_is_shortened() -> None:
    taken = {"a" * 251 + ".exr"}
    name = names.free("a" * 300 + ".exr", taken.__contains__)
    assert (len(name), name[-6:]) == (255, "~2.exr")
    assert len(names.free("\U0001f300" * 100, lambda name: False).encode()) <= 255


def test_a_file_that_vanishes_while_it_is_saved_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "result").touch()
    gone = tmp_path / "temporary"  # as the look at the folder may still have found it
    assert [fact.name for fact in facts([(gone, "t"), (tmp_path / "result", "r")], [tmp_path], no_tick)] == ["r"]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("count", [2, durable.WORTH_SYNCFS])
def test_each_file_is_synced_one_way_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, whole: bool
) -> None:
    files = [tmp_path / f"f{number}" for number in range(count)]
    for file in files:
        file.touch()
    single: list[Path] = []
    together: list[Path] = []
    monkeypatch.setattr(durable, "_kept_by_syncfs", lambda folder: whole)
    monkeypatch.setattr(durable, "_fsync", single.append)
    monkeypatch.setattr(durable, "_syncfs", together.append)
    durable.sync(files, [tmp_path], no_tick)
    expected = ([], [tmp_path]) if whole and count > 2 else (sorted(files), [])
    assert (sorted(single), together) == expected


def test_an_error_of_syncfs_is_looked_for_in_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / f"f{number}" for number in range(durable.WORTH_SYNCFS)]
    single: list[Path] = []

    def broken(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable, "_kept_by_syncfs", lambda folder: True)
    monkeypatch.setattr(durable, "_syncfs", broken)
    monkeypatch.setattr(durable, "_fsync", single.append)
    durable.sync(files, [tmp_path], no_tick)
    assert sorted(single) == sorted(files)


def test_syncfs_and_its_file_systems_are_known_to_this_kernel(tmp_path: Path) -> None:
    durable._syncfs(tmp_path)
    with pytest.raises(OSError, match="syncfs"):
        broken_fd(lambda: durable._syncfs(tmp_path))
    assert durable._kept_by_syncfs(Path("/dev/shm"))
    assert not durable._kept_by_syncfs(Path("/proc"))


def broken_fd(call: Callable[[], None]) -> None:
    """Call with a C library whose syncfs fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "_libc", type("Broken", (), {"syncfs": staticmethod(lambda fd: -1)}))
        call()


@pytest.mark.parametrize("size", [1, work.LARGE_BYTES])
def test_what_a_tick_raises_ends_the_work_in_all_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(work, "TICK_S", 0.0)

    def stop(words: str) -> None:
        raise InterruptedError(words)

    endless = FileWork("saving", 200, size, stop)

    def chew(item: int) -> None:
        while True:
            endless.passed(0)

    with pytest.raises(InterruptedError, match="saving 0 of 200"):
        endless.each(chew, range(200))


def test_a_single_large_file_says_how_many_of_its_bytes_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "TICK_S", 0.0)
    monkeypatch.setattr(work, "LARGE_BYTES", 3 << 20)
    (tmp_path / "big").write_bytes(bytes(4 << 20))
    said: list[str] = []
    outputs(tmp_path, tmp_path / "but", said.append, no_tick)
    assert "saving 0 of 1 (1.0 MiB of 4.0 MiB)" in said
    assert "saving 1 of 1 (4.0 MiB of 4.0 MiB)" in said


def test_the_time_in_which_files_are_saved_is_no_working_time() -> None:
    clock = WorkTime()
    assert clock.worked_s(5) is None
    clock.begin(10)
    clock.save(True, 12)
    assert (clock.saving, clock.worked_s(50), clock.saved_s(50)) == (True, 2, 38)
    clock.save(False, 60)
    clock.save(True, 61)
    clock.save(True, 70)  # said again: nothing is counted twice
    clock.save(False, 71)
    assert (clock.saving, clock.worked_s(75), clock.saved_s(75)) == (False, 7, 58)
