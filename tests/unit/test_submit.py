"""The jobs of a file, as the command line reads them."""

from __future__ import annotations

from app.cli.submit import batch_of


def test_a_line_may_hold_what_only_looks_like_its_end() -> None:
    assert batch_of('{"name": "a\u2028b\u0085c"}\r\n\n{"name": "d"}\n') == [{"name": "a\u2028b\u0085c"}, {"name": "d"}]
