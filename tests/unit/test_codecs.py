"""Which codecs are offered where, and what is told of an ffmpeg that fails: a script in its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.workflows import codecs, ffmpeg
from app.pool.errors import PoolError

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
    ffmpeg.program.cache_clear()
    yield put
    ffmpeg.program.cache_clear()


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
