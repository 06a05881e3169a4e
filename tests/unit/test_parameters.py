"""Parameters are what their declaration says, files lie where they may."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.pool.model import Json, Parameter
from app.pool.parameters import complete, problems, typed

HEIGHT = Parameter("height", "int", min=16, max=4320)
USE = Parameter("use", "float", default=1, min=0, max=1)
CODEC = Parameter("codec", "choice", default="h264", choices=("h264", "hevc"))
TITLE = Parameter("title", required=True)
QUICK = Parameter("quick", "bool")
INPUT = Parameter("input", "file", required=True)


@pytest.mark.parametrize(
    ("parameter", "value", "wrong"),
    [
        (HEIGHT, 240, None),
        (HEIGHT, 8, "must be at least 16"),
        (HEIGHT, 5000, "must be at most 4320"),
        (HEIGHT, "240", "must be a whole number"),
        (HEIGHT, 2.5, "must be a whole number"),
        (HEIGHT, True, "must be a whole number"),
        (HEIGHT, None, None),
        (USE, 0, None),
        (USE, float("nan"), "must be a number"),
        (CODEC, "hevc", None),
        (CODEC, "av1", "must be one of h264, hevc"),
        (TITLE, "", None),
        (TITLE, None, "is required"),
        (TITLE, "a\0b", "must be text"),
        (TITLE, ["a"], "must be text"),
        (QUICK, False, None),
        (QUICK, 1, "must be true or false"),
        (INPUT, "clip.mp4", "must be an absolute path"),
    ],
)
def test_each_type_takes_its_values_only(parameter: Parameter, value: Json, wrong: str | None) -> None:
    expected = [(parameter.name, wrong)] if wrong else []
    assert problems([parameter], {parameter.name: value}) == expected


def test_an_undeclared_parameter_is_named_with_what_there_is() -> None:
    assert problems([HEIGHT, USE], {"hight": 3}) == [
        ("hight", "is not a parameter of this workflow; it takes height, use")
    ]


def test_defaults_fill_what_is_absent() -> None:
    assert complete([HEIGHT, USE, CODEC], {"codec": "hevc"}) == {"height": None, "use": 1, "codec": "hevc"}


def test_a_file_must_lie_under_an_input_folder_with_links_resolved(tmp_path: Path) -> None:
    allowed, secret = tmp_path / "in", tmp_path / "in-secret"
    allowed.mkdir()
    secret.mkdir()
    (allowed / "clip").touch()
    (secret / "key").touch()
    (allowed / "link").symlink_to(secret / "key")

    assert problems([INPUT], {"input": str(allowed / "clip")}, [allowed], must_exist=True) == []
    for path in (allowed / "link", secret / "key", allowed / ".." / "in-secret" / "key"):
        assert problems([INPUT], {"input": str(path)}, [allowed]) == [("input", f"must lie under {allowed}")]


def test_a_file_that_the_asker_would_see_must_exist(tmp_path: Path) -> None:
    unseen = tmp_path / "mounted elsewhere"
    missing = {"input": str(unseen / "clip")}
    assert problems([INPUT], missing, [unseen]) == []
    assert problems([INPUT], missing, [unseen], must_exist=True) == [("input", "does not exist")]
    unseen.mkdir()
    assert problems([INPUT], missing, [unseen]) == [("input", "does not exist")]
    assert problems([INPUT], {"input": str(unseen)}) == [("input", "is not a file")]


def test_text_becomes_the_declared_type_or_says_what_it_must_be() -> None:
    assert [typed(HEIGHT, "240"), typed(USE, "0.5"), typed(QUICK, "Yes"), typed(TITLE, "1")] == [240, 0.5, True, "1"]
    for parameter, text in ((HEIGHT, "2.5"), (USE, "much"), (QUICK, "perhaps")):
        with pytest.raises(ValueError, match="must be"):
            typed(parameter, text)
