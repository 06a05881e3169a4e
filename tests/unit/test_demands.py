"""What a workflow demands of its outputs: which names a declaration stands for, and what is said of those missing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent.runners import demands
from agent.runners.demands import Unmet
from app.pool.model import Demands, FileFact, Json, Parameter

FRAMES = ("f_{first..last:04}.exr",)
INTS = tuple(Parameter(name, "int") for name in ("first", "last", "frame", "step"))


def unmet(demanded: Demands, params: Mapping[str, Json], **sizes: int) -> str | None:
    """What is said of files with these sizes, named without their suffix `.exr`; None when all is well."""
    files = [FileFact(f"{name}.exr", size, "0" * 64) for name, size in sizes.items()]
    return said(demanded, params, files)


def said(demanded: Demands, params: Mapping[str, Json], files: list[FileFact]) -> str | None:
    try:
        demands.require(demanded, params, files)
    except Unmet as why:
        return str(why).removeprefix("its outputs are not what its workflow demands: ")
    return None


def names(name: str, **params: Json) -> str | None:
    """What is said of one demanded name where nothing is there."""
    return unmet(Demands((name,)), params)


def test_a_workflow_that_demands_nothing_may_leave_anything() -> None:
    assert unmet(Demands(), {}) is None
    assert unmet(Demands(), {}, f_0001=0) is None


def test_missing_and_empty_frames_of_a_range_are_named() -> None:
    demanded = Demands(FRAMES, not_empty=True)
    there = {"f_0001": 9, "f_0002": 9, "f_0003": 0, "f_0004": 9}
    assert unmet(demanded, {"first": 1, "last": 4}, **{**there, "f_0003": 1}) is None
    assert unmet(demanded, {"first": 1, "last": 8}, **there) == (
        "f_0005.exr and 3 more are missing; f_0003.exr is empty"
    )
    assert unmet(demanded, {"first": 3, "last": 3}, **there) == "f_0003.exr is empty"
    assert unmet(Demands(FRAMES), {"first": 3, "last": 3}, **there) is None
    assert unmet(demanded, {"first": 9, "last": 9}, **there) == "f_0009.exr is missing"


def test_emptiness_counts_of_the_named_files_and_without_names_of_all() -> None:
    assert unmet(Demands(("main.exr",), not_empty=True), {}, main=1, stray=0) is None
    assert unmet(Demands(not_empty=True), {}, main=1, stray=0, b=0) == "b.exr and 1 more are empty"


def test_so_many_files_must_be_there() -> None:
    assert unmet(Demands(at_least=1), {}) == "it left 0 files, and at least 1 must be there"
    assert unmet(Demands(at_least=2), {}, a=1) == "it left 1 file, and at least 2 must be there"
    assert unmet(Demands(at_least=2), {}, a=1, b=0) is None


@pytest.mark.parametrize("spelling", ["f_-0002", "f_-002"])
def test_a_negative_frame_may_be_written_as_blender_or_as_printf_does(spelling: str) -> None:
    there = {spelling: 1, "f_-0001": 1, "f_0000": 1}
    assert unmet(Demands(FRAMES), {"first": -2, "last": 0}, **there) is None
    assert unmet(Demands(FRAMES), {"first": -3, "last": 0}, **there) == "f_-0003.exr is missing"


def test_a_range_may_have_a_step_and_numbers_for_its_ends() -> None:
    there = {"f_1": 1, "f_4": 1, "f_7": 1}
    assert unmet(Demands(("f_{1..last..step}.exr",)), {"last": 9, "step": 3}, **there) is None
    assert unmet(Demands(("f_{1..last..2}.exr",)), {"last": 9}, **there) == "f_3.exr and 2 more are missing"


def test_places_are_filled_with_parameters_and_each_combination_is_demanded() -> None:
    assert names("{shot}_{frame:03}.exr", shot="a/b", frame=7) == "a/b_007.exr is missing"
    assert names("{shot}/{1..2}_{-1..0}.exr", shot="s") == "s/1_-1.exr and 3 more are missing"


def test_a_name_with_a_parameter_that_has_no_value_demands_nothing() -> None:
    assert names("{shot}.exr", shot=None) is None
    assert names("{first..last}_{1..2}.exr", first=1, last=None) is None


def test_a_range_of_nothing_is_no_success_nor_is_one_that_nobody_can_count() -> None:
    assert names("{first..last}.exr", first=8, last=5) == "{first..last}.exr: there is no number from 8 to 5"
    vast = names("{first..last..3}.exr", first=-(10**30), last=10**30)
    assert vast and "and at most 1,000,000 can be demanded" in vast
    assert "is missing" not in (names("{1..2000}_{1..2000}.exr") or "")


@pytest.mark.parametrize(
    ("demanded", "complaint"),
    [
        (Demands(at_least=-1), "at_least must be 0 or more"),
        (Demands(("a",) * 21), "at most 20 names"),
        (Demands(("",)), "1 to 200 characters"),
        (Demands(("/tmp/a",)), "as it lies in the output folder"),
        (Demands(("./a",)), "as it lies in the output folder"),
        (Demands(("a/../b",)), "as it lies in the output folder"),
        (Demands(("f_{first-last}.exr",)), "a brace begins or ends no place; places are {name}, "),
        (Demands(("f_{first:4}.exr",)), "a brace begins or ends no place"),
        (Demands(("f_}.exr",)), "a brace begins or ends no place"),
        (Demands(("f_{frames}.exr",)), "{frames} is no declared parameter"),
        (Demands(("f_{first..end}.exr",)), "{end} is no declared parameter"),
        (Demands(("{scene}.exr",)), "scene must be of type string, choice or int"),
        (Demands(("{shot:04}.exr",)), "shot must be of type int"),
        (Demands(("{shot..last}.exr",)), "shot must be of type int"),
        (Demands(("{first..last..step}.exr",)), "the step step must be 1 or more; declare the parameter with min = 1"),
        (Demands(("{first..last..0}.exr",)), "the step 0 must be 1 or more"),
    ],
)
def test_a_mistake_is_named_when_it_is_declared(demanded: Demands, complaint: str) -> None:
    with pytest.raises(ValueError, match=r"^outputs: ") as caught:
        demands.check(demanded, (*INTS, Parameter("shot"), Parameter("scene", "file")))
    assert complaint in str(caught.value)


def test_what_can_be_filled_is_accepted() -> None:
    declared = (*INTS, Parameter("shot"), Parameter("by", "int", min=1))
    names_ = ("a.exr", "{shot}/f_{frame:04}.exr", "{first..last..by:04}.exr", "{-5..5}", "v..1/{1..last..2}")
    demands.check(Demands(names_, 1, True), declared)
