"""Parameters are what their declaration says, files lie where they may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.pool.model import Json, Parameter, Workflow
from app.pool.parameters import arguments, complete, problems, problems_of, typed

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


SEED = Parameter("seed", "int")
OFFSET = Parameter("offset", "int", min=1000001, max=16777216)
BY_OLD_AGENTS = Parameter("width", "int", min=16.0, max=2.0**53)


@pytest.mark.parametrize(
    ("parameter", "value", "wrong"),
    [
        (OFFSET, 1000000, "must be at least 1000001"),
        (OFFSET, 16777217, "must be at most 16777216"),
        (BY_OLD_AGENTS, 8, "must be at least 16"),
        (Parameter("use", "float", max=0.1234567), 1, "must be at most 0.1234567"),
        (Parameter("seed", "int", max=2**63 - 1), 2**63, "must be at most 9223372036854775807"),
        (SEED, 2**64 - 1, None),
        (SEED, -(2**63), None),
        (SEED, 2**64, "must be from -9223372036854775808 to 18446744073709551615, since it has 64 bits at most"),
        (SEED, 10**400, "must be from -9223372036854775808 to 18446744073709551615, since it has 64 bits at most"),
        (USE, 10**400, "must be a number"),
    ],
)
def test_bounds_are_said_and_kept_to_the_last_digit(parameter: Parameter, value: Json, wrong: str | None) -> None:
    assert problems([parameter], {parameter.name: value}) == ([(parameter.name, wrong)] if wrong else [])


RENDER = Workflow(
    "render",
    "command",
    argv=("blender", ("-s", "{first}", "-e", "{last}"), ("-F", "{format}"), "{title}", "--x={title}", ("-a",)),
    parameters=(
        Parameter("first", "int"),
        Parameter("last", "float"),
        Parameter("format", "choice", choices=("PNG", "-")),
        TITLE,
    ),
)


@pytest.mark.parametrize(
    ("params", "argv"),
    [
        ({"title": "a"}, "blender a --x=a -a"),
        ({"title": "a", "first": 1}, "blender a --x=a -a"),
        ({"title": "a", "first": -5, "last": -0.5}, "blender -s -5 -e -0.5 a --x=a -a"),
        ({"title": "a", "format": "-"}, "blender -F - a --x=a -a"),
        ({"first": 0, "last": 0}, "blender -s 0 -e 0 -a"),
    ],
)
def test_a_group_is_left_out_as_a_whole_and_a_number_may_be_negative(params: dict[str, Json], argv: str) -> None:
    assert " ".join(arguments(RENDER, complete(RENDER.parameters, params))) == argv


def test_a_text_that_would_be_an_option_is_named_before_anything_runs() -> None:
    assert problems_of(RENDER, {"title": "-y"}) == [
        ("title", "may not begin with '-': it would be read as an option"),
    ]
    assert problems_of(RENDER, {"title": "y", "first": -5, "last": -1, "format": "-"}) == []
    assert problems_of(replace(RENDER, argv=("blender", "--x={title}")), {"title": "-y"}) == []
    assert [name for name, _ in problems_of(RENDER, {"title": "-y", "first": "x"})] == ["first"]


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
