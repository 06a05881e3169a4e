"""What ffmpeg complains of: kept in bounds, and told apart by what follows from it. In the words of two versions."""

from __future__ import annotations

from collections import Counter

import pytest

from agent.workflows.complaints import COUNTED, KEPT, Complaints

MKV = "matroska,webm"
OPENED = "[info] Input #0, matroska,webm, from 'film.mkv':"


def heard(*lines: str, kind: str = MKV, known: Counter[str] | None = None) -> Complaints:
    complaints = Complaints(kind, known)
    for line in lines:
        complaints.add(line)
    return complaints


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("[matroska,webm @ 0x5605d3773980] [error] File ended prematurely", "matroska,webm: File ended prematurely"),
        (
            "[in#0/matroska,webm @ 0x55f09d024140] [error] File ended prematurely",
            "in#0/matroska,webm: File ended prematurely",
        ),
        (
            "[h264 @ 0x56] [error] Invalid NAL unit size (773 > 555).",
            "h264: Invalid NAL unit size (773 > 555).",
        ),
        (
            "[error] Error while decoding stream #0:1: Invalid data found when processing input",
            "Error while decoding stream #0:1: Invalid data found when processing input",
        ),
        (
            "[aist#0:1/aac @ 0x56] [dec:aac @ 0x57] [error] Error submitting packet to decoder: Invalid data found when"
            " processing input",
            "dec:aac: Error submitting packet to decoder: Invalid data found when processing input",
        ),
        ("[warning] film.mkv: corrupt decoded frame in stream 0", "film.mkv: corrupt decoded frame in stream 0"),
        ("[mov @ 0x56] [error] stream 1, offset 0x374a5: partial file", "mov: stream 1, offset 0x374a5: partial file"),
        ("[mpeg2video @ 0x56] [error] ac-tex damaged at 16 8", "mpeg2video: ac-tex damaged at 16 8"),
        ("[h264 @ 0x56] [error] error while decoding MB 3 8", "h264: error while decoding MB 3 8"),
        (
            "[matroska,webm @ 0x56] [error] 0x00 at pos 9 (0x9) invalid as first byte of an EBML number",
            "matroska,webm: 0x00 at pos 9 (0x9) invalid as first byte of an EBML number",
        ),
    ],
)
def test_words_of_damage_are_known_without_addresses_and_levels(line: str, kept: str) -> None:
    complaints = heard(OPENED, line)
    assert (complaints.damage, complaints.lines, complaints.unreadable) == (kept, [kept], None)


@pytest.mark.parametrize(
    "line",
    [
        "[warning] Guessed Channel Layout for Input Stream #0.1 : mono",
        "[info] Stream mapping:",
        "frame= 25 fps=0.0",
        "",
    ],
)
def test_what_is_no_complaint_is_dropped(line: str) -> None:
    complaints = heard(OPENED, line)
    assert (complaints.count, complaints.damage) == (0, None)


def test_an_error_that_is_no_damage_is_only_kept() -> None:
    complaints = heard(OPENED, "[null @ 0x56] [error] Application provided invalid, non monotonically increasing dts")
    assert (complaints.count, complaints.damage, complaints.unreadable) == (1, None, None)


@pytest.mark.parametrize("words", ["Input/output error", "Stale file handle"])
def test_a_disk_that_fails_is_no_damage_of_the_film(words: str) -> None:
    complaints = heard(OPENED, f"[error] /mnt/film.mkv: {words}")
    assert (complaints.unreadable, complaints.damage) == (f"/mnt/film.mkv: {words}", None)


def test_what_decoders_say_while_the_file_is_opened_does_not_count_but_its_demuxer_does() -> None:
    early = "[h264 @ 0x56] [error] Invalid NAL unit size (773 > 555)."
    assert heard(early, OPENED).damage is None
    assert heard(early, OPENED, early).damage is not None
    assert heard("[matroska,webm @ 0x56] [error] File ended prematurely", OPENED).damage is not None


def test_a_line_that_is_known_counts_from_the_time_it_comes_once_more() -> None:
    line = "[h264 @ 0x56] [error] decode_slice_header error"
    known = heard(OPENED, line, line).counted
    assert heard(OPENED, line, line, known=known).damage is None
    assert heard(OPENED, line, line, line, known=known).damage == "h264: decode_slice_header error"


def test_a_splice_of_a_recording_is_a_doubt_and_no_damage() -> None:
    line = "[mpegts @ 0x56] [warning] Packet corrupt (stream = 0, dts = 662400)."
    of_ts = heard(OPENED, line, kind="mpegts")
    assert (of_ts.doubt, of_ts.damage) == ("mpegts: Packet corrupt (stream = 0, dts = 662400).", None)
    assert heard(OPENED, line.replace("mpegts", MKV)).damage is not None


def test_of_many_lines_the_first_and_the_last_are_kept_and_the_others_counted() -> None:
    complaints = heard(OPENED, *(f"[error] line {number} of a damaged file" for number in range(5000)))
    assert complaints.lines == [
        *(f"line {number} of a damaged file" for number in range(KEPT)),
        f"… {5000 - 2 * KEPT} lines more …",
        *(f"line {number} of a damaged file" for number in range(5000 - KEPT, 5000)),
    ]
    assert len(complaints.counted) == COUNTED
