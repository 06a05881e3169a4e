"""Films as people have them: torn, damaged, changed under the reader, without sound, very long, oddly named.

With the ffmpeg that a host has and with the one that comes with the agent where they are known to differ.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.workflows.transcode import output_name
from tests.kit.films import (
    HOSTS,
    NEWEST,
    X264,
    ended,
    ffmpeg,
    frames,
    probed,
    resumed,
    scene,
    streams,
    times,
)

PICTURE = "testsrc2=size=64x36:rate=25:duration={}"
BOTH = pytest.mark.parametrize("program", [HOSTS, NEWEST], ids=["hosts", "newest"])

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a film: its name, its seconds, the seconds of its sound tracks, and further options."""

    def film(name: str, seconds: float, *options: str, sound: tuple[float, ...] = (), picture: str = PICTURE) -> Path:
        inputs = ["-f", "lavfi", "-i", picture.format(seconds)]
        for length in sound:
            inputs += ["-f", "lavfi", "-i", f"sine=duration={length}:sample_rate=8000"]
        maps = [option for number in range(1 + len(sound)) for option in ("-map", str(number))]
        ffmpeg(*inputs, *maps, *X264, *options, str(tmp_path / name))
        return tmp_path / name

    return film


def torn(film: Path, share: float = 0.5) -> Path:
    """A copy of the film's first part, cut within a packet of MPEG-TS."""
    copy = film.with_stem("torn")
    content = film.read_bytes()
    copy.write_bytes(content[: int(len(content) * share) // 188 * 188 + 100])
    return copy


# --- all of it


@BOTH
def test_frames_without_times_after_a_seek_are_not_lost(tmp_path: Path, make: Make, program: str) -> None:
    film = make("b-frames.avi", 5, "-g", "250")
    end, output = resumed(tmp_path, film, 2, program)
    assert (end["end"], end["result"]["frames"], frames(output)) == ("succeeded", 125, 125)


@BOTH
def test_a_film_whose_sound_has_ended_goes_on(tmp_path: Path, make: Make, program: str) -> None:
    film = make("silent tail.mp4", 5, "-g", "25", "-c:a", "aac", sound=(1,))
    end, output = resumed(tmp_path, film, 3, program)
    assert (end["end"], frames(output)) == ("succeeded", 125)
    assert float(probed(output)["audio"]["duration"]) < 1.3


def test_a_film_that_lacks_a_frame_is_a_failure(tmp_path: Path, make: Make) -> None:
    film = make("film.mkv", 3)
    with scene(tmp_path / "a1", film, stop_after=3) as first:
        assert first.begin().silent_end()
    last = next(message for message in reversed(first.said) if "checkpoint" in message)
    last["checkpoint"]["encoded"]["frames"] += 1
    with first.resumed_by(tmp_path / "a2") as second:
        end = second.begin().end()
    assert (end["end"], end["error"]) == ("failed", "the joined film has 75 frames, but 76 were encoded")


# --- torn, damaged, changed


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("film.mkv", ["-c:a", "aac"]),
        ("film.mp4", ["-c:a", "aac", "-movflags", "+faststart"]),
        ("film.mov", ["-c:a", "aac"]),
        ("film.flv", ["-c:a", "aac", "-ar", "44100"]),
        ("film.ts", ["-c:a", "aac"]),
        ("film.avi", ["-c:v", "mpeg4", "-c:a", "mp2", "-ar", "44100"]),
        ("film.ogv", ["-c:v", "libtheora", "-c:a", "libvorbis"]),
    ],
)
def test_a_torn_film_fails_at_once_and_for_good(tmp_path: Path, make: Make, name: str, options: list[str]) -> None:
    film = torn(make(name, 4, *options, sound=(4,)))
    end, log = ended(tmp_path / "out", film)
    assert (end["end"], end.get("then")) == ("failed", "never"), (end, log)
    if not name.endswith("mov"):  # which has its index at the end
        assert f"{film.name} is damaged, or its end is missing: " in end["error"]
        assert "allow_damaged" in end["error"]


@BOTH
def test_of_a_torn_film_what_is_there_is_taken_where_that_is_allowed(tmp_path: Path, make: Make, program: str) -> None:
    film = torn(make("film.mkv", 6, sound=(6,)))
    end, output = resumed(tmp_path, film, 1, program, allow_damaged=True)
    assert end["end"] == "succeeded"
    assert 30 < frames(output) < 120
    damaged, short = end["result"]["warnings"]
    assert "what could be decoded of torn.mkv was taken" in damaged
    assert "ended prematurely" in damaged
    assert short.startswith("the film ends after ")


@BOTH
@pytest.mark.parametrize("kind", ["mkv", "mp4", "ts"])
def test_damage_within_a_film_fails_with_its_words_in_the_log(
    tmp_path: Path, make: Make, kind: str, program: str
) -> None:
    film = make(f"film.{kind}", 4, "-b:v", "300k", "-g", "50", picture="testsrc2=size=160x90:rate=25:duration={}")
    content = bytearray(film.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8000] = bytes(8000)
    film.write_bytes(content)
    end, log = ended(tmp_path / "out", film, program)
    assert (end["end"], end.get("then")) == ("failed", "never"), (end, log)
    assert [line for line in log if line.startswith("ffmpeg: ")], end


def test_a_recording_that_begins_anywhere_is_a_film(tmp_path: Path, make: Make) -> None:
    film = make("recorded.ts", 5, "-g", "25", sound=(5,))
    content = film.read_bytes()
    film.write_bytes(content[188 * 60 :])
    end, _ = ended(tmp_path / "out", film)
    assert (end["end"], end["result"]["warnings"]) == ("succeeded", [])


def test_where_only_the_declared_length_is_wrong_a_warning_tells(tmp_path: Path, make: Make) -> None:
    first = make("first.ts", 2, sound=(2,))
    second = tmp_path / "second.ts"
    ffmpeg("-copyts", "-itsoffset", "500", "-i", str(first), "-map", "0", "-c", "copy", str(second))
    spliced = tmp_path / "spliced.ts"
    spliced.write_bytes(first.read_bytes() + second.read_bytes())
    end, log = ended(tmp_path / "out", spliced)
    assert (end["end"], end["result"]["frames"]) == ("succeeded", 100)
    warning = end["result"]["warnings"][-1]
    assert warning.startswith("the film ends after 4.0 s, though the input says that it has 50")
    assert warning in log


@pytest.mark.parametrize("how", ["appended", "replaced", "removed"])
def test_a_film_that_changes_meanwhile_is_begun_anew(tmp_path: Path, make: Make, how: str) -> None:
    film = make("film.mkv", 4)
    other = tmp_path / "other.mkv"
    shutil.copy2(film, other)
    with scene(tmp_path / "out", film, preset="veryslow") as child:
        child.begin().until("checkpoint")
        if how == "appended":
            with film.open("ab") as file:
                file.write(b"more")
        elif how == "replaced":
            other.replace(film)  # of the same size and time
        else:
            film.unlink()
        end = child.end()
    assert (end["end"], end.get("then")) == ("failed", None)
    assert "film.mkv changed while it was read; the next attempt begins anew" in end["error"]


def test_a_film_that_is_still_being_written_may_be_tried_again(tmp_path: Path, make: Make) -> None:
    whole = make("whole.mkv", 6, sound=(6,)).read_bytes()
    film = tmp_path / "film.mkv"
    film.write_bytes(whole[: len(whole) // 2])
    with scene(tmp_path / "out", film) as child:
        child.begin().until("progress")
        with film.open("ab") as file:
            file.write(whole[len(whole) // 2 : -100])
        end = child.end()
    assert (end["end"], end.get("then")) == ("failed", None)
    assert "changed while it was read" in end["error"]


# --- times


@pytest.mark.parametrize(
    ("name", "rate", "expected"),
    [
        ("quick.mp4", "60", "60/1"),
        ("cinema.mp4", "24000/1001", "24000/1001"),
        ("slow.mp4", "10", "10/1"),
        ("quick.ts", "60", "60/1"),
    ],
)
def test_the_last_frame_is_shown_as_long_as_the_others(
    tmp_path: Path, make: Make, name: str, rate: str, expected: str
) -> None:
    film = make(name, 2.002, picture=f"testsrc2=size=64x36:rate={rate}:duration={{}}")
    end, _ = ended(tmp_path / "out", film, segment_s=10)
    [video] = streams(tmp_path / "out" / end["result"]["output"])
    assert video["avg_frame_rate"] == expected


@pytest.mark.parametrize(("program", "b_frames"), [(HOSTS, "0"), (NEWEST, "0"), (NEWEST, "2")])
def test_a_last_slide_stays(tmp_path: Path, make: Make, program: str, b_frames: str) -> None:
    plain = make("plain.mp4", 3, "-bf", b_frames, picture="testsrc2=size=64x36:rate=1:duration={}")
    film = tmp_path / "slides.mp4"
    last = "setts=pts=PTS:dts=DTS:duration=5/TB"  # codespell:ignore
    ffmpeg("-i", str(plain), "-c", "copy", "-bsf:v", last, str(film))
    end, _ = ended(tmp_path / "out", film, program)
    [video] = streams(tmp_path / "out" / end["result"]["output"])
    assert float(video["duration"]) == pytest.approx(7, abs=0.01)


def test_a_film_of_three_days_keeps_its_times(tmp_path: Path, make: Make) -> None:
    hours = "testsrc2=size=64x36:rate=1/6000:duration=258000"  # a frame in 100 minutes: 43 segments
    film = make("days.mkv", 0, "-g", "5", picture=hours)
    end, output = resumed(tmp_path, film, 35, segment_s=600)
    assert end["end"] == "succeeded", end["error"]
    assert end["result"]["frames"] == 43
    assert times(output) == pytest.approx([6000 * number for number in range(43)], abs=0.001)


@pytest.mark.parametrize(
    ("name", "options", "timecode"),
    [
        ("film.mov", ["-timecode", "01:00:00:10"], "01:00:00:10"),
        ("film.mxf", ["-c:v", "mpeg2video", "-timecode", "10:00:00:00"], "10:00:00:00"),
        ("none.mov", [], None),
    ],
)
def test_the_timecode_is_kept(tmp_path: Path, make: Make, name: str, options: list[str], timecode: str | None) -> None:
    film = make(name, 1, *options)
    end, _ = ended(tmp_path / "out", film)
    video = probed(tmp_path / "out" / end["result"]["output"])["video"]
    assert video["tags"].get("timecode") == timecode


# --- sound


def spatial(film: Path, track: int) -> None:
    """Make a sound track of a MOV one that no ffmpeg decodes, as telephones write them."""
    content = bytearray(film.read_bytes())
    places = [place for place in range(len(content)) if content[place : place + 4] == b"stsd"]
    for old, new in ((b"mp4a", b"apac"), (b"esds", b"dapa")):
        found = content.find(old, places[track])
        content[found : found + 4] = new
    film.write_bytes(content)


@BOTH
def test_sound_that_cannot_be_decoded_is_left_out_by_name(tmp_path: Path, make: Make, program: str) -> None:
    film = make("telephone.mov", 2, "-c:a", "aac", sound=(2, 1))
    spatial(film, 1)
    end, log = ended(tmp_path / "out", film, program)
    assert end["end"] == "succeeded", end["error"]
    kinds = [stream["codec_type"] for stream in streams(tmp_path / "out" / "telephone.mp4")]
    assert kinds == ["video", "audio"]
    [warning] = end["result"]["warnings"]
    assert warning.startswith("sound track 1 is left out: ")
    assert warning in log
    assert float(probed(tmp_path / "out" / "telephone.mp4")["audio"]["duration"]) < 1.2


@BOTH
def test_a_film_with_only_empty_sound_becomes_one_without(tmp_path: Path, make: Make, program: str) -> None:
    whole = make("whole.mkv", 2, "-c:a", "aac", sound=(2,))
    film = tmp_path / "empty.mkv"
    ffmpeg("-i", str(whole), "-map", "0", "-c", "copy", "-bsf:a", r"noise=drop='gte(n\,0)'", str(film))
    assert "audio" in probed(film)
    end, output = resumed(tmp_path, film, 1, program)
    assert end["end"] == "succeeded", end["error"]
    assert set(probed(output)) == {"video"}
    [warning] = end["result"]["warnings"]
    assert warning.startswith("sound track 1 is left out: it holds nothing")


# --- names and what is no film


def test_a_name_that_is_odd_or_too_long_for_an_output_is_mended(tmp_path: Path, make: Make) -> None:
    film = make("film.ts", 1)
    odd = tmp_path / ("é" * 120 + "line\nbreak.ts")
    film.rename(odd)
    end, _ = ended(tmp_path / "out", odd)
    assert end["end"] == "succeeded", end["error"]
    assert [output["name"] for output in end["outputs"]] == ["é" * 120 + "line_break.mp4"]
    longest = output_name("€" * 90)
    assert longest == "€" * 83 + ".mp4"
    assert len(longest.encode()) <= 255
    assert output_name("tab\tand\u2028line") == "tab_and_line.mp4"
    assert output_name("100 % «naïve» 🎬") == "100 % «naïve» 🎬.mp4"
    assert output_name("x" * 200, 143) == "x" * 139 + ".mp4"


def test_a_picture_of_a_cover_is_no_film(tmp_path: Path) -> None:
    song, cover = tmp_path / "song.m4a", tmp_path / "cover.png"
    ffmpeg("-f", "lavfi", "-i", PICTURE.format(1), "-frames:v", "1", str(cover))
    ffmpeg(
        *("-f", "lavfi", "-i", "sine=duration=1", "-i", str(cover), "-map", "0", "-map", "1"),
        *("-c:v", "copy", "-disposition:v", "attached_pic", str(song)),
    )
    end, log = ended(tmp_path / "out", song)
    assert (end["end"], end.get("then")) == ("failed", "never"), (end, log)
    assert "song.m4a has no picture that moves" in end["error"]
