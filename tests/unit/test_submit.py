"""What people submit: the jobs of a file, preferences, and the form's fields with their errors."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import MultiDict

from app.cli.submit import batch_of
from app.pool import parameters
from app.pool.errors import BadFields, pointer, pointer_parts
from app.pool.model import Parameter, Workflow
from app.web.pages import submit_form


def test_a_line_may_hold_what_only_looks_like_its_end() -> None:
    assert batch_of('{"name": "a\u2028b\u0085c"}\r\n\n{"name": "d"}\n') == [{"name": "a\u2028b\u0085c"}, {"name": "d"}]


@pytest.mark.parametrize("names", [("params", "size/px"), ("params", "~home", 3), ("~1", ""), ()])
def test_a_pointer_names_its_place_whatever_the_names_hold(names: tuple[str | int, ...]) -> None:
    assert pointer_parts(pointer(*names)) == [str(name) for name in names]
    assert pointer("a/b~c") == "/a~1b~0c"


@pytest.mark.parametrize("name", ["size/px", "~size", "size"])
def test_a_bad_parameter_is_shown_at_its_input_whatever_its_name_holds(name: str) -> None:
    workflow = Workflow("burn", "python", parameters=(Parameter(name, "int"),))
    with pytest.raises(BadFields) as caught:
        submit_form.params(workflow, MultiDict({f"p.{name}": "many"}))
    assert caught.value.errors == [(pointer("params", name), "must be a whole number")]
    assert submit_form.errors_by_input(caught.value.errors) == {f"p.{name}": "must be a whole number"}


def test_a_preference_is_a_tag_with_a_weight_or_without() -> None:
    assert parameters.preferences(["optix", "nvme=0.5", "a="]) == {"optix": 1.0, "nvme": 0.5, "a": 1.0}
    with pytest.raises(ValueError, match="nvme=much: write it as a tag"):
        parameters.preferences(["nvme=much"])
