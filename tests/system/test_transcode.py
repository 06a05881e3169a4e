"""transcode with a real ffmpeg, in a real workflow process: every frame once, at its time, whatever the file."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.processes import descendants
from agent.workflows import segments, transcode
from agent.workflows.ffmpeg import variable_rate
from app.pool import faults
from tests.kit.films import SMALL, TONE, X264, ffmpeg, probed, times
from tests.kit.workflow_scene import WorkflowScene

TICK = 1.5 / segments.TICKS
START = 0.0006  # MP4 names the beginning of a track in ms

Clip = Callable[..., Path]


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """Makes a source: its name, ffmpeg's test picture, and further options."""

    def make(name: str, picture: str, *options: str) -> Path:
        path = tmp_path / name
        ffmpeg("-f", "lavfi", "-i", picture, *options, str(path))
        return path

    return make


def transcoded(folder: Path, source: Path, **params: Any) -> Path:
    with WorkflowScene(folder, transcode.declaration(), {"input": str(source), **SMALL, **params}) as child:
        end = child.begin().end()
        assert end["end"] == "succeeded", end["error"]
        assert [output["name"] for output in end["outputs"]] == [f"{source.stem}.mp4"]
        assert not (child.checkpoints / "work").exists()
    return folder / f"{source.stem}.mp4"


def assert_same_times(output: Path, source: Path) -> None:
    begin = min(float(stream["start_time"]) for stream in probed(source).values())
    expected, found = [time - begin for time in times(source)], times(output)
    assert found[0] == pytest.approx(expected[0], abs=START)
    assert [time - found[0] for time in found] == pytest.approx([time - expected[0] for time in expected], abs=TICK)


@pytest.mark.parametrize("rate", ["25", "30000/1001", "24000/1001"])
def test_every_frame_comes_out_once_at_its_time(tmp_path: Path, clip: Clip, rate: str) -> None:
    source = clip("in put.mp4", f"testsrc2=size=160x120:rate={rate}:duration=3.2", *TONE, *X264)
    output = transcoded(tmp_path / "out", source)

    assert_same_times(output, source)
    streams = probed(output)
    assert (streams["video"]["codec_name"], streams["video"]["height"], streams["audio"]["codec_name"]) == (
        "h264",
        64,
        "aac",
    )
    assert float(streams["audio"]["duration"]) == pytest.approx(3, abs=0.1)


def test_a_video_without_audio_has_none_afterwards(tmp_path: Path, clip: Clip) -> None:
    source = clip("silent.mkv", "testsrc2=size=160x120:rate=25:duration=2", *X264)
    output = transcoded(tmp_path / "out", source)

    assert_same_times(output, source)
    assert set(probed(output)) == {"video"}


def test_odd_dimensions_become_even(tmp_path: Path, clip: Clip) -> None:
    source = clip("odd.avi", "testsrc2=size=160x120:rate=10:duration=1", "-vf", "scale=121:81", "-c:v", "ffv1")
    video = probed(transcoded(tmp_path / "out", source, height=None))["video"]
    assert (probed(source)["video"]["width"], video["width"], video["height"]) == (121, 120, 80)


def test_a_single_frame_is_a_video_too(tmp_path: Path, clip: Clip) -> None:
    source = clip("one.mp4", "testsrc2=size=160x120:rate=25:duration=0.04", *X264)
    assert len(times(transcoded(tmp_path / "out", source))) == 1


def test_frames_without_a_steady_rate_keep_their_times(tmp_path: Path, clip: Clip) -> None:
    wild = "settb=1/1000,setpts='if(lt(N,20),N*37+mod(N*N,11),N*900)'"
    source = clip(
        "wild.mkv",
        "testsrc2=size=160x120:rate=25:duration=1",
        "-vf",
        wild,
        *variable_rate(),
        "-enc_time_base",
        "1:1000",
        *X264,
    )
    assert_same_times(transcoded(tmp_path / "out", source, preset="medium"), source)


@pytest.mark.parametrize("name", ["late.mkv", "late.ts"])
def test_sound_that_begins_later_or_earlier_still_does(tmp_path: Path, clip: Clip, name: str) -> None:
    late = ["-itsoffset", "0.7" if name == "late.mkv" else "-0.7", *TONE]
    source = clip(name, "testsrc2=size=160x120:rate=25:duration=3", *late, *X264)
    output = transcoded(tmp_path / "out", source)
    assert behind(output) == pytest.approx(behind(source), abs=0.03)


def behind(path: Path) -> float:
    """By how much sound begins after the picture."""
    streams = probed(path)
    return float(streams["audio"]["start_time"]) - float(streams["video"]["start_time"])


def test_a_video_held_sideways_comes_out_upright(tmp_path: Path, clip: Clip) -> None:
    lying = clip("lying.mp4", "testsrc2=size=160x80:rate=25:duration=1", *X264)
    source = tmp_path / "turned.mp4"
    said = subprocess.run(["ffmpeg", "-h", "full"], check=True, capture_output=True, text=True).stdout
    if "-display_rotation" in said:  # since 6.0, where the older way is gone
        ffmpeg("-display_rotation:v:0", "90", "-i", str(lying), "-c", "copy", str(source))
    else:
        ffmpeg("-i", str(lying), "-c", "copy", "-metadata:s:v", "rotate=90", str(source))
    video = probed(transcoded(tmp_path / "out", source))["video"]
    assert (video["width"], video["height"]) == (32, 64)


def test_hevc_is_marked_as_apple_wants_it(tmp_path: Path, clip: Clip) -> None:
    source = clip("in.mp4", "testsrc2=size=160x120:rate=25:duration=2.2", *X264)
    output = transcoded(tmp_path / "out", source, codec="hevc")
    assert_same_times(output, source)
    assert probed(output)["video"]["codec_tag_string"] == "hvc1"


@pytest.mark.parametrize("name", ["whole.mp4", "whole.mkv", "whole.ts", "whole.avi"])
def test_the_next_attempt_encodes_only_what_is_left(tmp_path: Path, clip: Clip, name: str) -> None:
    options = [*X264, "-g", "12"] if not name.endswith("avi") else ["-c:v", "mpeg4"]
    source = clip(name, "testsrc2=size=160x120:rate=30000/1001:duration=4", *TONE, *options)
    params = {"input": str(source), **SMALL}
    exit_after_2 = {faults.VARIABLE: "transcode.segment:2=exit"}
    with WorkflowScene(tmp_path / "a1", transcode.declaration(), params, environment=exit_after_2) as first:
        assert first.begin().silent_end()
        assert first.process.wait(10) == faults.EXIT_CODE
    with first.resumed_by(tmp_path / "a2") as second:
        end = second.begin().end()

    assert end["end"] == "succeeded", end["error"]
    numbers = [message["number"] for message in second.said if "checkpoint" in message]
    assert numbers == list(range(3, 3 + len(numbers)))
    encoded = [line.split()[1] for line in second.log if line.endswith("encoded")]
    assert encoded[0] == "3"
    assert (end["result"]["segments"], len(encoded)) == (numbers[-1], len(numbers))
    output = tmp_path / "a2" / "whole.mp4"
    assert_same_times(output, source)
    assert "audio" in probed(output)


def test_an_attempt_after_the_last_segment_only_joins(tmp_path: Path, clip: Clip) -> None:
    source = clip("whole.mp4", "testsrc2=size=160x120:rate=25:duration=2", *X264)
    params = {"input": str(source), **SMALL}
    with WorkflowScene(
        tmp_path / "a1", transcode.declaration(), params, environment={faults.VARIABLE: "transcode.segment:2=exit"}
    ) as first:
        assert first.begin().silent_end()
    with first.resumed_by(tmp_path / "a2") as second:
        assert second.begin().end()["result"]["segments"] == 2
    assert not [line for line in second.log if line.endswith("encoded")]
    assert_same_times(tmp_path / "a2" / "whole.mp4", source)


def test_a_killed_ffmpeg_loses_and_doubles_no_frame(tmp_path: Path, clip: Clip) -> None:
    source = clip("whole.mp4", "testsrc2=size=640x360:rate=25:duration=8", *X264, "-g", "12")
    slow = {"input": str(source), "segment_s": 3, "preset": "slow"}
    with WorkflowScene(tmp_path / "a1", transcode.declaration(), slow) as first:
        first.begin().until("progress", text="segment 2 of 3")
        for pid in descendants(first.process.pid):
            os.kill(pid, signal.SIGTERM)
        assert first.end()["end"] == "failed"
    with first.resumed_by(tmp_path / "a2", preset="ultrafast") as second:
        assert second.begin().end()["end"] == "succeeded"
    assert_same_times(tmp_path / "a2" / "whole.mp4", source)


def test_sound_alone_is_refused_with_a_reason(tmp_path: Path) -> None:
    source = tmp_path / "song.m4a"
    ffmpeg(*TONE, str(source))
    with WorkflowScene(tmp_path / "out", transcode.declaration(), {"input": str(source), **SMALL}) as child:
        assert "no picture that moves" in child.begin().end()["error"]


def test_many_segments_are_few_files_of_a_checkpoint(tmp_path: Path, clip: Clip) -> None:
    source = clip("long.mp4", "testsrc2=size=64x64:rate=4:duration=35", *X264)
    params = {"input": str(source), **SMALL, "segment_s": 0.5}
    with WorkflowScene(tmp_path / "a1", transcode.declaration(), params) as child:
        assert child.begin().end()["result"]["segments"] == 70
        last = next(m for m in reversed(child.said) if "checkpoint" in m)
    assert [file["name"] for file in last["files"]][:2] == ["segments-to-00032.ts", "segments-to-00064.ts"]
    assert len(last["files"]) == 2 + 6
    assert_same_times(tmp_path / "a1" / "long.mp4", source)


def test_asked_to_stop_it_keeps_what_it_has(tmp_path: Path, clip: Clip) -> None:
    source = clip("whole.mp4", "testsrc2=size=640x480:rate=25:duration=30", *X264)
    slow = {"input": str(source), "segment_s": 1, "preset": "veryslow"}
    with WorkflowScene(tmp_path / "a1", transcode.declaration(), slow) as child:
        child.begin().until("checkpoint")
        child.tell({"stopping": "checkpoint"})
        assert child.end(10)["end"] == "stopped"


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 100])
def test_what_is_no_video_is_refused_with_a_reason(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "letter.mp4"
    source.write_bytes(content)
    with WorkflowScene(tmp_path / "out", transcode.declaration(), {"input": str(source), **SMALL}) as child:
        end = child.begin().end()
    assert end["end"] == "failed"
    assert "ffmpeg cannot read letter.mp4" in end["error"]
    assert "Traceback" not in end["error"]
