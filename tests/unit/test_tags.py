"""The agent lets no tag into its beat that the pool would not read."""

from __future__ import annotations

import pytest

from agent.tags import Tags


@pytest.mark.parametrize("tag", ["", "fast\n", "a b", "a\x00", "a" * 65])
def test_what_is_no_tag_is_not_listed(tag: str) -> None:
    tags = Tags()

    assert not tags.change(tag, has=True)
    assert tags.change("fast", has=True)
    assert tags.listed() == ["fast"]
