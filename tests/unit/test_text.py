"""What PostgreSQL cannot hold is refused where somebody learns of it, and replaced where nobody would."""

from __future__ import annotations

from typing import Any

import pytest

from app.pool.text import storable, storable_text, unstorable

WRONG = {"a\0": "holds a NUL character", "a\ud800": "holds half of a surrogate pair"}


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("around", [lambda text: text, lambda text: [[1, text]], lambda text: {"k": {text: None}}])
def test_it_is_found_and_replaced_wherever_it_stands(text: str, around: Any) -> None:
    assert unstorable(around(text)) == WRONG[text]
    assert unstorable(storable(around(text))) is None


def test_each_character_has_one_that_stands_for_it() -> None:
    assert storable_text("a\0b\udc00c") == "a\ufffdb?c"


@pytest.mark.parametrize("value", ["", "é 😀 \n\t", {"k": ["\\u0000", 1, None, 0.5, True]}])
def test_what_can_be_held_stays_as_it_is(value: Any) -> None:
    assert unstorable(value) is None
    assert storable(value) == value
