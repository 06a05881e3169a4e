"""Which ffmpeg and codecs are offered where, and what is told of one that fails: a script in its place."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.workflows import NotOffered, codecs, ffmpeg, trial
from app.pool.errors import PoolError
from tests.kit.films import NEWEST

TOO_OLD = """\
[h264_nvenc @ 0x55c8] Driver does not support the required nvenc API version. Required: 13.1 Found: 13.0
[h264_nvenc @ 0x55c8] The minimum required Nvidia driver for nvenc is 610.00 or newer
[out#0/null @ 0x55c8] Nothing was written into output file, because at least one of its streams received no packets.
"""
FULL = "[hevc_nvenc @ 0x55c8] OpenEncodeSessionEx failed: out of memory (10): (no details)\n"
FAKE = """\
#!/bin/sh
case "$*" in
*-encoders*) for each in {encoders}; do echo " V....D $each  an encoder"; done ;;
*h264_nvenc*) {h264} ;;
*hevc_nvenc*) {hevc} ;;
*) {other} ;;
esac
"""
ALL = "libx264 libx265 h264_nvenc hevc_nvenc"

Fake = Callable[..., None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """Puts an ffmpeg on PATH that has all encoders and encodes, but for what is said of it in shell."""

    def put(**said: str) -> None:
        path = tmp_path / "ffmpeg"
        path.write_text(FAKE.format(**{"encoders": ALL, "h264": "exit 0", "hevc": "exit 0", "other": "exit 1", **said}))
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv(ffmpeg.VARIABLE, "")  # to be put back afterwards
    forget()
    yield put
    forget()


def forget() -> None:
    """Let the next one to ask look for an ffmpeg again."""
    ffmpeg.program.cache_clear()
    trial.choose.cache_clear()


def saying(words: str) -> str:
    """Shell that says so and fails."""
    return f"cat >&2 <<'END'\n{words}END\nexit 1"


def test_what_encodes_a_frame_is_offered(fake: Fake) -> None:
    fake()
    assert codecs.offered() == ("h264", "hevc", "h264_nvenc", "hevc_nvenc")


def test_what_this_ffmpeg_was_not_built_with_is_not_offered(fake: Fake) -> None:
    fake(encoders="libx264 hevc_nvenc")
    assert codecs.offered() == ("h264", "hevc_nvenc")


def test_nvenc_is_not_offered_where_it_does_not_work_and_why_is_logged(
    fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake(h264=saying(TOO_OLD))
    with caplog.at_level("INFO"):
        assert codecs.offered() == ("h264", "hevc", "hevc_nvenc")
    [line] = caplog.messages
    assert line == f"transcode does not offer h264_nvenc: {TOO_OLD.splitlines()[0]}"


def test_nvenc_of_a_card_that_is_full_at_the_moment_is_offered(fake: Fake) -> None:
    fake(hevc=saying(FULL))
    assert "hevc_nvenc" in codecs.offered()


def test_nvenc_of_a_driver_that_hangs_is_not_offered_and_delays_nobody_for_long(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(h264="exec sleep 600")
    monkeypatch.setattr(ffmpeg, "TRY_S", 0.5)
    begun = time.monotonic()
    assert "h264_nvenc" not in codecs.offered()
    assert time.monotonic() - begun < 30


def test_the_first_line_of_a_failure_is_its_cause(fake: Fake, tmp_path: Path) -> None:
    fake(other=saying(TOO_OLD))
    with pytest.raises(PoolError) as failed:
        ffmpeg.run(["-i", "x"], lambda line: None, tmp_path)
    assert str(failed.value) == f"ffmpeg failed: {TOO_OLD.strip()}"


def test_a_failure_without_a_word_has_its_exit_code(fake: Fake, tmp_path: Path) -> None:
    fake(other="exit 3")
    with pytest.raises(PoolError, match=r"^ffmpeg failed: it ended with 3 and said nothing$"):
        ffmpeg.run(["-i", "x"], lambda line: None, tmp_path)


def breaking(when: str, how: str) -> str:
    """Shell that is the host's ffmpeg, but where the arguments are like that."""
    return f'case "$*" in *{when}*) {how} ;; *) exec /usr/bin/ffmpeg "$@" ;; esac'


@pytest.fixture
def good(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A good ffmpeg on PATH, behind what the test puts there."""
    path = tmp_path / "next" / "ffmpeg"
    script(path, f'exec {NEWEST} "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:{path.parent}:/usr/bin:/bin")
    return str(path)


def script(path: Path, shell: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{shell}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("when", "how", "why"),
    [
        ("concat", "kill -SEGV $$", "it ended with -11 and said nothing"),  # as some static builds do
        ("trim=start_pts", "echo no filter trim >&2; exit 1", "ffmpeg failed: no filter trim"),
        ("segment_list", "exit 0", "No such file or directory"),
        ("faststart", "exec cp segment-00001.ts film.mp4", "the joined film has 3 frames, but 6 were encoded"),
        ("-encoders", "echo ' V....D libx265  x'", "it was built without libx264"),
    ],
)
def test_an_ffmpeg_that_breaks_on_the_way_is_not_offered_and_the_next_is_used(
    good: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    when: str,
    how: str,
    why: str,
) -> None:
    script(tmp_path / "ffmpeg", breaking(when, how))
    assert trial.choose() == good == ffmpeg.program()
    assert why in caplog.text

    forget()
    monkeypatch.setenv(ffmpeg.VARIABLE, str(tmp_path / "ffmpeg"))
    with pytest.raises(NotOffered, match="does not pass a trial: ") as refused:
        trial.choose()
    assert why in str(refused.value)


def test_an_ffmpeg_that_hangs_is_given_up(good: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "ffmpeg", breaking("segment_list", "exec /bin/sleep 600"))
    monkeypatch.setattr(trial, "LIMIT_S", 0.5)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin/nowhere")
    with pytest.raises(NotOffered, match="it ended with -9"):
        trial.choose()


def test_each_ffmpeg_is_found_once(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        script(tmp_path / folder / "ffmpeg", "exit 0")
    (tmp_path / "c").symlink_to("a")
    monkeypatch.setenv("PATH", ":".join(str(tmp_path / name) for name in "abca"))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert ffmpeg.candidates() == [str(tmp_path / "a/ffmpeg"), str(tmp_path / "b/ffmpeg")]


def test_the_one_that_is_named_is_used_and_no_other(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ffmpeg.VARIABLE, "/opt/studio/ffmpeg")
    assert ffmpeg.candidates() == ["/opt/studio/ffmpeg"]
    with pytest.raises(NotOffered, match="/opt/studio/ffmpeg"):
        trial.choose()
